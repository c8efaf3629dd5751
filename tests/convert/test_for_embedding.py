"""Files for embedding in llama.cpp's programs: the same vectors there as in gritlite.

`llama_cpp.Llama` stands in for llama-server: both pool through llama.cpp's own C interface.
"""

import numpy as np
import pytest
from llama_cpp import Llama

from gritlite import GritLM, UsageError
from gritlite.convert import convert
from gritlite.modelfile.header import read_header
from tests.tiny import make_checkpoint

TEXTS = ["hello", "The cat sat on the mat, and the mat did not mind.", "déjà vu\n\n  12345 東京"]
PROMPT = "<|embed|>\n"


def theirs(path, texts, prompt=PROMPT):
    """Vectors of llama.cpp's own pooling, with what the file says and nothing else."""
    model = Llama(str(path), embedding=True, n_ctx=256, n_batch=256, n_ubatch=256, verbose=False)
    vectors = np.array([model.embed(prompt + text, normalize=True) for text in texts])
    model.close()
    return vectors


@pytest.fixture(scope="module", params=["mistral", "qwen2", "llama-head-dim"])
def files(request, tmp_path_factory):
    """A checkpoint as an ordinary file and as one for embedding."""
    folder = tmp_path_factory.mktemp(request.param)
    make_checkpoint(folder / "checkpoint", request.param)
    for name, flag in (("both.gguf", None), ("embed.gguf", True)):
        convert(folder / "checkpoint", folder / name, "f32", for_embedding=flag)
    return folder / "both.gguf", folder / "embed.gguf"


def test_llama_cpp_computes_the_same_vectors(files):
    with GritLM(files[1], threads=1) as model:
        ours = model.encode(TEXTS)
    cosines = (ours * theirs(files[1], TEXTS)).sum(axis=1)
    assert cosines.min() > 0.99999


def test_they_are_those_of_the_ordinary_file_with_its_prompt_in_the_mean(files):
    with GritLM(files[1], threads=1) as model, GritLM(files[0], threads=1) as ordinary:
        assert np.allclose(
            model.encode(TEXTS), ordinary.encode(TEXTS, embed_instruction=True), atol=1e-6
        )
        assert not np.allclose(model.encode(TEXTS), ordinary.encode(TEXTS), atol=1e-3)


def test_an_instruction_is_a_prompt_like_any_other(files):
    prompt = "<|user|>\nFind what answers\n<|embed|>\n"
    with GritLM(files[1], threads=1) as model:
        ours = model.encode(TEXTS, instruction=prompt)
    assert (ours * theirs(files[1], TEXTS, prompt)).sum(axis=1).min() > 0.99999


def test_an_ordinary_file_gives_other_vectors_there(files):
    model = Llama(str(files[0]), embedding=True, pooling_type=1, n_ctx=256, verbose=False)
    vector = np.array(model.embed(PROMPT + TEXTS[1], normalize=True))
    model.close()
    with GritLM(files[0], threads=1) as ordinary:
        assert ordinary.encode([TEXTS[1]], embed_instruction=True)[0] @ vector < 0.99


def test_without_pooling_the_callers_mean_equals_the_ordinary_vectors(files):
    model = Llama(
        str(files[1]), embedding=True, pooling_type=0, n_ctx=256, n_ubatch=256, verbose=False
    )
    with GritLM(files[0], threads=1) as ordinary:
        for text, ours in zip(TEXTS, ordinary.encode(TEXTS), strict=True):
            start = len(model.tokenize(PROMPT.encode()))
            mean = np.array(model.embed(PROMPT + text))[start:].mean(axis=0)
            assert mean @ ours / np.linalg.norm(mean) > 0.99999
    model.close()


def test_gritlite_does_not_chat_with_it(files):
    with GritLM(files[1], threads=1) as model:
        for call in (
            lambda: model.chat([{"role": "user", "content": "hello"}]),
            lambda: model.generate("hello"),
            lambda: model.prefix_state("hello"),
        ):
            with pytest.raises(UsageError, match="written for embedding only"):
                call()


def test_a_file_for_embedding_can_be_converted_back(files, tmp_path):
    back, kept = tmp_path / "back.gguf", tmp_path / "kept.gguf"
    convert(files[1], back, "f32", for_embedding=False)
    convert(files[1], kept, "f16")
    assert dict(read_header(back).metadata).keys() == (
        read_header(files[0]).metadata.keys() - {"tokenizer.ggml.add_eos_token"}
    )
    with GritLM(back, threads=1) as model, GritLM(files[0], threads=1) as ordinary:
        assert np.array_equal(model.encode(TEXTS), ordinary.encode(TEXTS))
        assert model.generate("a", max_tokens=3, temperature=0) == (
            ordinary.generate("a", max_tokens=3, temperature=0)
        )
    assert read_header(kept).metadata["grit.embed.include_prompt"] is True


def test_an_ordinary_file_can_be_made_one_for_embedding(files, tmp_path):
    convert(files[0], tmp_path / "made.gguf", "f32", for_embedding=True)
    made, directly = (read_header(path).metadata for path in (tmp_path / "made.gguf", files[1]))
    assert {key: made[key] for key in made if "tokens" not in key}.keys() == {
        key for key in directly if "tokens" not in key
    }
    for key in ("attention.causal", "pooling_type"):
        (name,) = (each for each in made if each.endswith("." + key))
        assert made[name] == directly[name]
