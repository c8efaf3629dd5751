"""Checkpoints and adapters that are wrong on purpose are refused in a line that names the part."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gritlite.convert import convert, write_adapter
from gritlite.errors import FileError, FormatError, GritLiteError
from tests.tiny import make_checkpoint, safetensors_bytes
from tests.tiny_adapters import make_adapter
from tests.tiny_gptq import make_gptq

SURROGATE = "\ud800"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    make_checkpoint(
        folder / "model", "llama-llama3", tokenizer="llama-bpe", hidden=32, feed_forward=32
    )
    make_adapter(folder / "adapter", folder / "model", rank=2)
    return folder


def refused(source: Path, adapter: Path | None = None, target: str | None = "f16") -> str:
    with pytest.raises(GritLiteError) as caught:
        convert(source, source.parent / "out.gguf", target, adapter=adapter, force=True)
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 600, message
    return message


@pytest.fixture
def changed(sound: Path) -> Any:
    """Sets fields of a JSON file of the sound folder until the test ends."""
    old: dict[Path, bytes] = {}

    def change(name: str, edit: Callable[[dict[str, Any]], object]) -> None:
        path = sound / name
        old.setdefault(path, path.read_bytes() if path.exists() else b"")
        content = json.loads(old[path] or b"{}")
        edit(content)
        path.write_text(json.dumps(content))

    yield change
    for path, data in old.items():
        path.write_bytes(data) if data else path.unlink()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rope_theta", 1e300, "rope_theta is 1e+300"),
        ("rope_theta", 10**400, "rope_theta is 1000"),
        ("rope_theta", 1e-300, "rope_theta"),
        ("num_hidden_layers", 2**31 - 1, "num_hidden_layers is 2147483647"),
        ("max_position_embeddings", 10**30, "max_position_embeddings"),
        ("rms_norm_eps", "small", "rms_norm_eps is 'small'"),
        ("hidden_act", ["x" * 10**6], "activation"),
        ("layer_types", "sliding_attention", "layer_types"),
        ("model_type", SURROGATE, "lone surrogate"),
        ("eos_token_id", "</s>", "eos_token_id is '</s>'"),
        ("rope_scaling", {"rope_type": "yarn", "factor": 1e-6}, "factor"),
        ("rope_scaling", {"rope_type": "linear", "factor": 0.5}, "factor"),
    ],
)
def test_config(changed: Any, sound: Path, key: str, value: Any, said: str) -> None:
    changed("model/config.json", lambda content: content.update({key: value}))
    assert said in refused(sound / "model")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda content: content["model"].update(merges=True), "merges is True, not a list"),
        (lambda content: content["model"].update(merges=[]), "needs merges"),
        (lambda content: content["model"].update(byte_fallback="no"), "byte_fallback is 'no'"),
        (lambda content: content["model"]["vocab"].update({SURROGATE: 481}), "lone surrogate"),
        (lambda content: content["model"]["vocab"].update({"a\0b": 481}), "zero byte"),
        (lambda content: content["model"]["vocab"].update({"x" * 9999: 481}), "9,999 characters"),
        (lambda content: content.update(added_tokens=3), "added_tokens is 3, not a list"),
        (lambda content: content.update(post_processor=[1]), "post_processor is [1]"),
        (
            lambda content: content["post_processor"]["processors"].append(
                content["post_processor"]["processors"][1]
            ),
            "adds the tokens [0, 0] to a text",
        ),
        (
            lambda content: content.update(post_processor={"type": "Sequence", "processors": 5}),
            "processors is 5",
        ),
    ],
)
def test_tokenizer(changed: Any, sound: Path, edit: Callable[..., Any], said: str) -> None:
    changed("model/tokenizer.json", edit)
    assert said in refused(sound / "model")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", {"bos_token": 7}, "names 7 as bos token"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"9" * 5000: {}}}, "added token"),
        ("added_tokens.json", {"x": True}, "id True"),
        ("generation_config.json", {"eos_token_id": [1.5]}, "eos_token_id is [1.5]"),
        ("generation_config.json", {"stop_strings": ["no token"]}, "'no token' is not a token"),
    ],
)
def test_other_files(changed: Any, sound: Path, name: str, content: Any, said: str) -> None:
    changed(f"model/{name}", lambda old: (old.clear(), old.update(content)))
    assert said in refused(sound / "model")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": 1', "ends too early: download it again"),
        (b'{"a" 1}', "(line 1, column 6)"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
        (b"[]", "not a JSON object"),
        (b"5", "not a JSON object"),
        (b"null", "not a JSON object"),
    ],
)
def test_what_is_not_json(changed: Any, sound: Path, data: bytes, said: str) -> None:
    changed("model/config.json", dict.copy)
    (sound / "model" / "config.json").write_bytes(data)
    assert said in refused(sound / "model")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_devices_and_pipes(tmp_path: Path, name: str) -> None:
    folder = make_checkpoint(tmp_path / "model", "llama-tied", hidden=32, feed_forward=32)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert "device" in refused(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert "pipe" in refused(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora_alpha": 1e300}, "lora_alpha is 1e+300"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"r": 10**400, "use_rslora": True}, "r is 1000"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'"),
        ({"rank_pattern": [1]}, "rank_pattern is [1]"),
        ({"rank_pattern": {"(a+)+b": 2}}, "too complex"),
        ({"rank_pattern": {".*.*.*.*q": 2}}, "too complex"),
        ({"rank_pattern": {"q(": 2}}, "not a regular expression"),
        ({"x\ty": 5}, "only plain low-rank"),
    ],
)
def test_adapter(changed: Any, sound: Path, fields: dict[str, Any], said: str) -> None:
    changed("adapter/adapter_config.json", lambda content: content.update(fields))
    assert said in refused(sound / "model", sound / "adapter")


def test_an_adapter_whose_product_is_too_large(sound: Path, tmp_path: Path) -> None:
    """Its matrices are finite, what they make is not."""
    folder = make_adapter(tmp_path / "adapter", sound / "model", rank=2)
    tensors = {
        name: values * 1e25
        for name, values in load_file(folder / "adapter_model.safetensors").items()
    }
    (folder / "adapter_model.safetensors").write_bytes(safetensors_bytes(tensors))
    message = refused(sound / "model", folder, "f32")
    assert "q_proj" in message
    assert "the model or its adapter is damaged" in message
    changes = {"lora_alpha": 1e-5, "alpha_pattern": {"k_proj": 1e6}}
    several = make_adapter(tmp_path / "several", sound / "model", rank=2, **changes)
    larger = {name: values * 1e5 for name, values in tensors.items()}
    (several / "adapter_model.safetensors").write_bytes(safetensors_bytes(larger))
    with pytest.raises(FormatError, match=r"blk\.0\.attn_k\.weight\.lora_b: row 0 has a NaN"):
        write_adapter(several, sound / "model", tmp_path / "several.gguf")


def test_a_folder_whose_name_is_no_text(sound: Path, tmp_path: Path) -> None:
    """And names by which llama.cpp would tokenize in another way."""
    from gritlite.modelfile.header import read_header

    for name, expected in (("a\udcff", "a?"), ("My-Phi-3b", "My-Phi 3b"), ("phi3", "phi 3")):
        folder = make_checkpoint(tmp_path / name, "llama-tied", hidden=32, feed_forward=32)
        convert(folder, tmp_path / "out.gguf", "f16", force=True)
        assert read_header(tmp_path / "out.gguf").metadata["general.name"] == expected


def gptq_with(tmp_path: Path, **parts: Any) -> Path:
    """A folder of GPTQ weights in which one weight's parts are replaced or, if None, left out."""
    folder, _ = make_gptq(tmp_path, hidden=32, feed_forward=32)
    tensors = load_file(folder / "model.safetensors")
    for part, value in parts.items():
        name = f"model.layers.0.mlp.up_proj.{part}"
        old = tensors.pop(name, None)
        if value is not None:
            tensors[name] = value(old) if callable(value) else value
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors, "F16"))
    return folder


def first(value: float) -> Callable[[Any], Any]:
    def change(old: Any) -> Any:
        new = old.copy()
        new.flat[0] = value
        return new

    return change


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"scales": first(np.inf)}, "scales' has a NaN or an infinity"),
        ({"scales": first(np.nan)}, "scales' has a NaN or an infinity"),
        ({"weight": np.ones((32, 32), np.float32)}, "weight' and 'model.layers.0.mlp.up_proj.qw"),
        ({"qweight": None}, "qzeros', which is part of no quantized weight"),
        ({"scales": None}, "without 'model.layers.0.mlp.up_proj.scales'"),
        ({"qzeros": None}, "without 'model.layers.0.mlp.up_proj.qzeros'"),
        ({"scales": lambda old: old[0]}, "do not fit together"),
        ({"scales": lambda old: old[:, :5]}, "do not fit together"),
        ({"scales": lambda old: np.repeat(old, 2, axis=0)}, "do not fit together"),
        ({"qweight": lambda old: old.reshape(1, 2, -1)}, "do not fit together"),
        ({"g_idx": lambda old: old[:4]}, "do not fit together"),
        ({"g_idx": first(7)}, "groups that do not exist"),
        ({"extra": np.zeros(3, np.int32)}, "part of no quantized weight"),
    ],
)
@pytest.mark.parametrize("target", [None, "f16"])
def test_gptq(tmp_path: Path, parts: dict[str, Any], said: str, target: str | None) -> None:
    message = refused(gptq_with(tmp_path, **parts), target=target)
    if target is None and "g_idx" in parts and "exist" in said:
        return  # refused as weights that Q4_0 does not hold
    assert said in message


def test_a_gptq_folder_of_several_settings(tmp_path: Path) -> None:
    folder = gptq_with(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    for fields, said in (
        ({"dynamic": {"+:.*up.*": {"bits": 8}}}, "in another way"),
        ({"bits": 4.0}, "of 4.0 bits"),
        ({"bits": True}, "of True bits"),
    ):
        quantization = {**config["quantization_config"], **fields}
        (folder / "config.json").write_text(
            json.dumps({**config, "quantization_config": quantization})
        )
        assert said in refused(folder, target="f16")


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_blocks_that_are_copied_from_a_gguf_file(
    sound: Path, tmp_path: Path, number: float
) -> None:
    """They pass no quantizer, and are checked all the same."""
    from gritlite.modelfile.header import read_header

    source = tmp_path / "source.gguf"
    convert(sound / "model", source, "q8_0")
    tensor = next(t for t in read_header(source).tensors if t.name == "blk.1.ffn_up.weight")
    data = bytearray(source.read_bytes())
    data[tensor.offset + 34 : tensor.offset + 36] = np.float16(number).tobytes()  # row 1's scale
    source.write_bytes(data)
    for target in ("q8_0", "f32"):
        message = refused(source, target=target)
        assert "'blk.1.ffn_up.weight'" in message
        assert "has a NaN or an infinity" in message


def test_whole_files_are_bounded(
    sound: Path, changed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gritlite.convert.json_files.MAX_JSON_BYTES", 100)
    with pytest.raises(FileError, match=r"config\.json has more than"):
        convert(sound / "model", sound / "out.gguf", "f16")
