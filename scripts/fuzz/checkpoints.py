"""Fuzz what `gritlite convert` reads: checkpoints, adapters, GPTQ folders, importance matrices.

    python scripts/fuzz checkpoints --inputs 5000 --seed 1

One file of a sound folder is changed. The folder is refused with one of gritlite's errors, or
converted; then every weight of the file is finite, llama.cpp loads its vocabulary, and if
tokenizer.json is the changed file and the package tokenizers reads it, both give the same tokens.
"""

import functools
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from fuzz.counting import Outcome, check_message
from fuzz.mutation import any_value, mutate_bytes, mutate_json
from gritlite.convert import convert
from gritlite.errors import GritLiteError
from gritlite.modelfile.check import check_model
from gritlite.modelfile.header import read_header
from gritlite.quant.finite import count_not_finite
from gritlite.quant.imatrix import Activations, Imatrix, write_imatrix
from tests import reference
from tests.tiny import make_checkpoint, pack_safetensors
from tests.tiny_adapters import make_adapter
from tests.tiny_gptq import make_gptq

_SIZE: Any = {"hidden": 32, "feed_forward": 32}
_TEXTS = ("The quick brown fox's 12,345 jumps;  over\n\n\tthe lazy dog", "é 首都 🚀 ½  x")
# what config files say beyond the sound folders' own fields
_KEYS = (
    "sliding_window", "layer_types", "use_sliding_window", "max_window_layers", "rope_theta",
    "rope_scaling", "rope_parameters", "rope_type", "head_dim", "eos_token_id", "pad_token_id",
    "bos_token_id", "pad_token", "unk_token", "tie_word_embeddings", "quantization_config",
    "added_tokens_decoder", "chat_template", "add_bos_token", "add_eos_token", "modules_to_save",
    "use_rslora", "use_dora", "rank_pattern", "alpha_pattern", "normalizer", "pre_tokenizer",
    "post_processor", "added_tokens", "merges", "byte_fallback", "ignore_merges", "lstrip", "type",
    "partial_rotary_factor", "attention_bias", "mlp_bias", "num_local_experts", "weight_map",
)  # fmt: skip
_OPTIONAL = ("generation_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class _Sound:
    """A sound folder by name, the files that are changed, and how it is converted."""

    name: str
    files: tuple[str, ...]
    target: str | None = "f16"
    adapter: bool = False

    @property
    def folder(self) -> Path:
        """The folder, of the adapter if that is what is changed."""
        return _scratch() / (f"{self.name}-adapter" if self.adapter else self.name)


_SENTENCE = ("config_sentence_transformers.json", "sentence_bert_config.json")
_JSON = ("config.json", "tokenizer_config.json")
_SOUND = (
    _Sound("llama", (*_JSON, "tokenizer.json", *_OPTIONAL, "model.safetensors")),
    _Sound("qwen2", (*_JSON, "tokenizer.json", "model.safetensors.index.json")),
    _Sound("mistral", (*_JSON, "tokenizer.json", "tokenizer.model")),
    _Sound("mixtral", (*_JSON, "tokenizer.json", "model.safetensors")),
    _Sound("gptq", ("config.json", "quantize_config.json", "model.safetensors"), None),
    _Sound("gptq", ("config.json", "model.safetensors"), "f16"),
    _Sound("llama", ("adapter_config.json", "adapter_model.safetensors"), adapter=True),
    _Sound("sentence", ("modules.json", "1_Pooling/config.json", *_SENTENCE, "config.json")),
    _Sound("llama", ("imatrix.gguf",), "q4_0"),
)


@functools.cache
def _scratch() -> Path:
    """The sound folders, made once and removed at exit."""
    kept = tempfile.TemporaryDirectory(prefix="gritlite-fuzz-")
    _scratch.kept = kept  # type: ignore[attr-defined]
    folder = Path(kept.name)
    make_checkpoint(folder / "llama", "llama-llama3", tokenizer="llama-bpe", **_SIZE)
    make_adapter(folder / "llama-adapter", folder / "llama", rank=2, ranks={"q_proj": 3})
    make_checkpoint(folder / "qwen2", "qwen2-yarn", shards=2, **_SIZE)
    make_checkpoint(folder / "mistral", **_SIZE)
    make_checkpoint(folder / "mixtral", "mixtral", **_SIZE)
    gptq, _ = make_gptq(folder / "made", **_SIZE)
    shutil.move(gptq, folder / "gptq")
    settings = json.loads((folder / "gptq" / "config.json").read_text())["quantization_config"]
    (folder / "gptq" / "quantize_config.json").write_text(json.dumps(settings))
    _add_sentence_transformers(make_checkpoint(folder / "sentence", "qwen2", **_SIZE))
    names = [f"blk.{layer}.ffn_up.weight" for layer in range(2)]
    seen = Activations(np.ones((1, 32), np.float32), np.ones(1, np.float32))
    write_imatrix(Imatrix(dict.fromkeys(names, seen)), folder / "llama" / "imatrix.gguf")
    for sound in (folder / "llama", folder / "qwen2"):
        (sound / "generation_config.json").write_text('{"eos_token_id": [2, 1], "pad_token_id": 2}')
        (sound / "special_tokens_map.json").write_text('{"eos_token": {"content": "<|im_end|>"}}')
        (sound / "added_tokens.json").write_text('{"<tool>": 480}')
    return folder


def _add_sentence_transformers(folder: Path) -> None:
    """Write what sentence-transformers saves beside a checkpoint."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"models.{kind}"} for path, kind in kinds.items()]
    prompts = {"query": "Instruct: Find\nQuery: ", "document": ""}
    (folder / "1_Pooling").mkdir()
    for name, content in {
        "modules.json": modules,
        "1_Pooling/config.json": {
            "pooling_mode_mean_tokens": False,
            "pooling_mode_lasttoken": True,
        },
        "config_sentence_transformers.json": {"prompts": prompts, "default_prompt_name": None},
        "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": False},
    }.items():
        (folder / name).write_text(json.dumps(content))


def case(rng: random.Random) -> Outcome:
    """Change one file of a sound folder, and convert it."""
    sound = rng.choice(_SOUND)
    name = rng.choice(sound.files)
    path = sound.folder / name
    old = path.read_bytes()
    path.write_bytes(_changed(rng, name, old))
    try:
        return _use(sound, name)
    finally:
        path.write_bytes(old)


def _changed(rng: random.Random, name: str, data: bytes) -> bytes:
    if name.endswith(".safetensors"):
        return _changed_tensors(rng, data)
    if not name.endswith(".json") or rng.random() < 0.1:
        return mutate_bytes(rng, data)
    return json.dumps(_changed_json(rng, json.loads(data))).encode()


def _changed_json(rng: random.Random, value: Any) -> Any:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = _with_key if rng.random() < 0.3 else mutate_json
        value = change(rng, value)
    return value


def _with_key(rng: random.Random, value: Any) -> Any:
    """Set a field that gritlite knows, here or in a part, to any value."""
    if not isinstance(value, dict):
        return value
    parts = [key for key, part in value.items() if isinstance(part, dict)]
    if parts and rng.random() < 0.4:
        key = rng.choice(parts)
        return {**value, key: _with_key(rng, value[key])}
    return {**value, rng.choice(_KEYS): any_value(rng)}


def _changed_tensors(rng: random.Random, data: bytes) -> bytes:
    """Change the header or the numbers of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    header, numbers = data[8 : 8 + length], data[8 + length :]
    kind = rng.randrange(4)
    if kind == 0:
        return mutate_bytes(rng, data[: 8 + length]) + numbers
    if kind == 1:
        return bytes(pack_safetensors(_changed_json(rng, json.loads(header)), numbers))
    if kind == 2:
        return bytes(pack_safetensors(_renamed(rng, json.loads(header)), numbers))
    at = rng.randrange(len(numbers) // 4) * 4
    number = rng.choice((b"\0\0\x80\x7f", b"\0\x7c\0\x7c", b"\0\0\xc0\x7f", b"\xff\xff\xff\xff"))
    return data[: 8 + length] + numbers[:at] + number + numbers[at + 4 :]


def _renamed(rng: random.Random, header: dict[str, Any]) -> dict[str, Any]:
    """Give a tensor another's name, or a name beside another's."""
    old, other = rng.choice(list(header)), rng.choice(list(header))
    base = other.rpartition(".")[0]
    ends = ("weight", "bias", "qweight", "qzeros", "scales", "g_idx", "inv_freq", "lora_A.weight")
    new = rng.choice((other, f"{base}.{rng.choice(ends)}", old.removeprefix("model."), "lm_head"))
    return {(new if name == old else name): fields for name, fields in header.items()}


def _use(sound: _Sound, changed: str) -> Outcome:
    output = _scratch() / "model.gguf"
    source = _scratch() / sound.name
    adapter = sound.folder if sound.adapter else None
    try:
        imatrix = source / changed if changed == "imatrix.gguf" else None
        convert(
            source, output, sound.target, adapter=adapter, imatrix=imatrix, force=True, threads=1
        )
    except GritLiteError as error:
        check_message(error)
        return "refused"
    header = read_header(output)
    check_model(header)
    assert count_not_finite(header) == {}
    with reference.loaded(output, vocab_only=True) as model:
        if changed == "tokenizer.json":
            _compare(model, source / changed, _TEXTS)
        else:
            reference.tokenize(model, _TEXTS[0])
    return "right"


def _compare(model: Any, path: Path, texts: Sequence[str]) -> None:
    """Check that llama.cpp tokenizes as the package tokenizers does, if that reads the file.

    gritlite matches no control token in a text, so texts that hold one are left out.
    """
    try:
        theirs = tokenizers.Tokenizer.from_file(str(path))
    except Exception:  # it is stricter than gritlite about fields that have no effect
        return
    theirs.no_truncation()
    theirs.no_padding()
    control = [each.content for each in theirs.get_added_tokens_decoder().values() if each.special]
    for text in texts:
        if any(content in text for content in control):
            continue
        normal = text
        if "qwen2" in str(path) and theirs.normalizer:
            normal = theirs.normalizer.normalize_str(text)
        ours = reference.tokenize(model, normal)
        assert ours == theirs.encode(text).ids, (text, ours, theirs.encode(text).ids)
