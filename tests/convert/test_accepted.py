"""Checkpoints that are sound, although something in them is unusual, are converted."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gritlite import ArchitectureError, FormatError, GritLM
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from gritlite.modelfile.header import read_header
from tests.tiny import Tensors, make_checkpoint, safetensors_bytes, write_tensors
from tests.tiny_adapters import make_adapter, write_said

SMALL: Any = {"hidden": 32, "feed_forward": 32}
INDEX = "model.safetensors.index.json"


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**content, **changes}), "utf-8")


def converted(folder: Path) -> dict[str, Any]:
    """The metadata of the converted file."""
    output = folder.parent / f"{folder.name}.gguf"
    convert(folder, output, "f16", force=True)
    return dict(read_header(output).metadata)


def same_file(left: Path, right: Path) -> bool:
    """Whether two folders give the same tensors and the same vocabulary."""
    for folder in (left, right):
        converted(folder)
    files = [read_header(folder.with_suffix(".gguf")) for folder in (left, right)]
    data = [file.path.read_bytes()[file.data_offset :] for file in files]
    tokens = [file.metadata["tokenizer.ggml.tokens"] for file in files]
    return data[0] == data[1] and tokens[0] == tokens[1]


# 16: the tokenizer's files


def test_a_tiktoken_model_beside_a_tokenizer_json(tmp_path: Path) -> None:
    """Llama 3's fine-tunes have one."""
    folder = make_checkpoint(tmp_path / "with", "llama-tied", tokenizer="llama-bpe", **SMALL)
    plain = make_checkpoint(tmp_path / "plain", "llama-tied", tokenizer="llama-bpe", **SMALL)
    lines = [f"{base64.b64encode(bytes([n])).decode()} {n}\n" for n in range(256)]
    (folder / "tokenizer.model").write_text("".join(lines))
    assert same_file(folder, plain)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FormatError, match=r"not a SentencePiece model: add the model's tokenizer"):
        converted(folder)


# 17: tokens that nothing uses


@pytest.mark.parametrize("pad", [{"pad_token": "[PAD]"}, {"pad_token": {"content": "[PAD]"}}])
def test_an_undefined_pad_token(tmp_path: Path, pad: dict[str, Any]) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    edit(folder / "tokenizer_config.json", **pad, unk_token="<none>")
    metadata = converted(folder)
    assert "tokenizer.ggml.padding_token_id" not in metadata
    assert metadata["tokenizer.ggml.eos_token_id"] == 2


def test_a_pad_token_behind_the_embeddings(tmp_path: Path) -> None:
    """As training scripts add one: to the tokenizer, but not to the model."""
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    plain = make_checkpoint(tmp_path / "plain", **SMALL)
    token = {"content": "[PAD]", "special": True, "lstrip": True}
    edit(folder / "tokenizer_config.json", pad_token="[PAD]", added_tokens_decoder={"496": token})
    edit(folder / "config.json", pad_token_id=496)
    assert same_file(folder, plain)
    edit(folder / "tokenizer_config.json", added_tokens_decoder={"496": {"content": "<more>"}})
    with pytest.raises(ArchitectureError, match=r"497 tokens.*only 496 rows"):
        converted(folder)


def test_a_mask_token_that_takes_the_space_before_it(tmp_path: Path) -> None:
    """No prompt holds one, so that no text is matched with it."""
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    token = {"content": "<mask>", "special": True, "lstrip": True}
    edit(folder / "tokenizer_config.json", mask_token="<mask>", added_tokens_decoder={"481": token})
    assert "<mask>" in converted(folder)["tokenizer.ggml.tokens"]
    template = "<mask>{{ messages[0].content }}"
    edit(folder / "tokenizer_config.json", chat_template=template)
    with pytest.raises(GritLiteError, match="'<mask>' has the option lstrip"):
        converted(folder)


def test_roles_of_the_special_tokens_map(tmp_path: Path) -> None:
    """It counts for more than tokenizer_config.json, unless that describes the added tokens."""
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    edit(folder / "special_tokens_map.json", eos_token={"content": "<s>", "lstrip": False})
    assert converted(folder)["tokenizer.ggml.eos_token_id"] == 1
    edit(folder / "tokenizer_config.json", added_tokens_decoder={})
    assert converted(folder)["tokenizer.ggml.eos_token_id"] == 2


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("generation_config.json", {"stop_strings": "<s>"}),
        ("tokenizer_config.json", {"eot_token": "<s>"}),
        ("tokenizer_config.json", {"extra_special_tokens": {"eot_token": {"content": "<s>"}}}),
    ],
)
def test_ends_of_a_turn_by_name(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    edit(folder / name, **fields)
    assert converted(folder)["grit.generate.end_tokens"].tolist() == [1]


# 18: what the index lists


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_index_that_lists_what_no_model_needs(tmp_path: Path, is_stored: bool) -> None:
    folder = make_checkpoint(tmp_path / "with", "llama-tied", shards=2, **SMALL)
    plain = make_checkpoint(tmp_path / "plain", "llama-tied", shards=2, **SMALL)
    index = json.loads((folder / INDEX).read_text())
    tensors = {name: load_file(folder / file)[name] for name, file in index["weight_map"].items()}
    shard = next(iter(index["weight_map"].values()))
    more: Tensors = {
        f"model.layers.{n}.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32) for n in range(2)
    }
    more |= {"rotary_emb.inv_freq": np.ones(4, np.float32)}
    more |= {"lm_head.weight": tensors["model.embed_tokens.weight"]}
    index["weight_map"] |= dict.fromkeys(more, shard)
    (folder / INDEX).write_text(json.dumps(index))
    if is_stored:
        (folder / shard).write_bytes(safetensors_bytes({**load_file(folder / shard), **more}))
    assert same_file(folder, plain)
    if is_stored:
        more["lm_head.weight"] = more["lm_head.weight"] + 1
        (folder / shard).write_bytes(safetensors_bytes({**load_file(folder / shard), **more}))
        with pytest.raises(ArchitectureError, match="ties the output to the embeddings"):
            converted(folder)


# 19: checkpoints of the model without its head


def without_head(folder: Path) -> None:
    """Rewrite the tensors as transformers' AutoModel names them."""
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("lm_head.weight", None)
    renamed = {name.removeprefix("model."): values for name, values in tensors.items()}
    write_tensors(folder, renamed)


def test_a_tied_model_without_prefix(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "with", "llama-tied", **SMALL)
    plain = make_checkpoint(tmp_path / "plain", "llama-tied", **SMALL)
    without_head(folder)
    assert same_file(folder, plain)
    assert "grit.generate.supported" not in converted(folder)


def test_an_untied_model_without_its_head_only_embeds(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "with", "qwen2", **SMALL)
    convert(folder, tmp_path / "whole.gguf", "f32")
    without_head(folder)
    report = convert(folder, tmp_path / "model.gguf", "f32")
    assert [notice for notice in report.notices if "only embeds" in notice]
    with GritLM(tmp_path / "whole.gguf") as whole, GritLM(tmp_path / "model.gguf") as model:
        assert np.array_equal(model.encode(["a text"]), whole.encode(["a text"]))
        for use in (
            lambda: model.chat([{"role": "user", "content": "hello"}]),
            lambda: model.generate("hello"),
            lambda: model.prefix_state("hello"),
        ):
            with pytest.raises(ArchitectureError, match=r"model\.gguf only embeds"):
                use()
    again = convert(tmp_path / "model.gguf", tmp_path / "again.gguf", "q8_0")
    assert read_header(again.output).metadata["grit.generate.supported"] is False


# what sentence-transformers says


def sentence_transformers(folder: Path, pooling: Any = "lasttoken", **prompts: str) -> Path:
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": n, "name": str(n), "path": f"{n}_{kind}" if n else "", "type": f"a.models.{kind}"}
        for n, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    settings = pooling if isinstance(pooling, dict) else {"pooling_mode": pooling}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    edit(folder / "config_sentence_transformers.json", prompts=prompts)
    return folder


def test_the_last_tokens_vector(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    without_head(folder)
    web = "Instruct: Given a web search query, retrieve passages\nQuery: "
    sentence_transformers(folder, web=web, summary="Instruct: Summarize\nQuery: ", passage="")
    metadata = converted(folder)
    assert metadata["grit.embed.pooling"] == "last"
    assert metadata["grit.embed.attention"] == "causal"
    assert metadata["grit.embed.prompt"] == ""
    assert metadata["grit.embed.instruction_prompt"] == "Instruct: {instruction}\nQuery: "
    assert metadata["grit.embed.trained"] is True


@pytest.mark.parametrize(
    ("pooling", "said"),
    [
        ("mean", "pools by 'mean'"),
        (["mean", "cls"], r"pools by \['mean', 'cls'\]"),
        ({"pooling_mode_cls_token": True}, "pools by 'cls'"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": False}, "pools by 'mean'"),
        ({}, r"pools by \[\]"),
    ],
)
def test_poolings_that_gritlite_does_not_compute(tmp_path: Path, pooling: Any, said: str) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    sentence_transformers(folder, pooling)
    with pytest.raises(ArchitectureError, match=said):
        converted(folder)


def test_what_else_changes_vectors(tmp_path: Path) -> None:
    folder = sentence_transformers(make_checkpoint(tmp_path / "model", **SMALL))
    modules = json.loads((folder / "modules.json").read_text())
    for content, said in (
        ([*modules, {"type": "a.models.Dense"}], r"lists 'a\.models\.Dense'"),
        ([{**modules[1], "path": "../../etc"}], "has the path '../../etc'"),
        ({"a": 1}, "not a list of modules"),
    ):
        (folder / "modules.json").write_text(json.dumps(content))
        with pytest.raises(GritLiteError, match=said):
            converted(folder)
    (folder / "modules.json").write_text(json.dumps(modules))
    for settings, said in (
        ({"do_lower_case": True}, "in lower case"),
        ({"modality_config": {"text": {}, "message": {}}}, "as messages of the chat template"),
    ):
        (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
        with pytest.raises(ArchitectureError, match=said):
            converted(folder)
    (folder / "sentence_bert_config.json").unlink()
    edit(folder / "config.json", auto_map={"AutoModel": "modeling.Own"})
    with pytest.raises(ArchitectureError, match=r"code of its own \('modeling\.Own'\)"):
        converted(folder)


# 3: whether a model was trained to embed


def test_what_is_known_of_training(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    assert "grit.embed.trained" not in converted(folder)
    convert(folder, tmp_path / "declared.gguf", "f16", trained_to_embed=True)
    convert(tmp_path / "declared.gguf", tmp_path / "again.gguf", "q8_0")
    assert read_header(tmp_path / "again.gguf").metadata["grit.embed.trained"] is True
    edit(folder / "config.json", auto_map={"AutoModel": "modeling_gritlm7b.MistralModel"})
    assert converted(folder)["grit.embed.trained"] is True


@pytest.mark.parametrize("is_marked", [True, False])
def test_an_adapter_says_what_it_was_trained_for(tmp_path: Path, is_marked: bool) -> None:
    """As `gritlite train` writes it."""
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    adapter = make_adapter(tmp_path / "adapter", folder, rank=2)
    write_said(adapter, {"grit.embed.trained": "true"} if is_marked else {})
    convert(folder, tmp_path / "merged.gguf", "f16", adapter=adapter)
    metadata = read_header(tmp_path / "merged.gguf").metadata
    assert metadata.get("grit.embed.trained", False) is is_marked


@pytest.mark.parametrize("for_embedding", [None, True])
def test_the_attention_that_an_adapter_was_trained_with(
    tmp_path: Path, for_embedding: bool | None
) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    adapter = make_adapter(tmp_path / "adapter", folder)
    write_said(adapter, {"grit.embed.trained": "true", "grit.embed.attention": "causal"})
    made = tmp_path / "made.gguf"
    convert(folder, made, "f32", adapter=adapter, for_embedding=for_embedding)
    metadata = read_header(made).metadata
    assert metadata["grit.embed.attention"] == "causal"
    assert metadata.get("llama.attention.causal") is (True if for_embedding else None)


def test_an_adapter_of_an_unknown_attention(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "model", **SMALL)
    adapter = make_adapter(tmp_path / "adapter", folder)
    write_said(adapter, {"grit.embed.attention": "sideways"})
    with pytest.raises(FormatError, match="expected bidirectional or causal"):
        convert(folder, tmp_path / "made.gguf", "f32", adapter=adapter)
