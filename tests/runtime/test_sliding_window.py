"""A model that attends to a window is used within it, and refused beyond."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gritlite import GritLM, InputTooLongError, UsageError
from gritlite.convert import convert
from gritlite.modelfile.description import describe
from gritlite.modelfile.header import read_header
from tests.tiny import make_checkpoint

WINDOW = 40
LONG = "some words and more " * 20

Config = dict[str, Any]


@pytest.mark.parametrize(
    ("case", "config", "window"),
    [
        ("mistral", {"sliding_window": WINDOW}, WINDOW),
        ("mistral", {"sliding_window": None}, None),
        ("mistral", {"sliding_window": 1024}, None),  # no shorter than the context
        ("mistral", {"context": 8192}, 4096),  # transformers' default
        ("mixtral", {"sliding_window": WINDOW}, WINDOW),
        ("mixtral", {"context": 8192}, None),
        ("llama-head-dim", {"sliding_window": WINDOW}, None),  # which transformers does not read
        ("qwen2", {"sliding_window": WINDOW}, None),
        ("qwen2", {"sliding_window": WINDOW, "use_sliding_window": True}, None),  # from layer 28
        (
            "qwen2",
            {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 1},
            WINDOW,
        ),
        (
            "mistral",
            {"sliding_window": WINDOW, "layer_types": ["full_attention", "full_attention"]},
            None,
        ),
    ],
    ids=str,
)
def test_the_window_travels_in_the_file(
    tmp_path: Path, case: str, config: Config, window: int | None
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", case, **config)
    convert(folder, tmp_path / "model.gguf", "f32")
    assert describe(read_header(tmp_path / "model.gguf")).sliding_window == window
    convert(tmp_path / "model.gguf", tmp_path / "again.gguf", "f16")
    with GritLM(tmp_path / "again.gguf", threads=1) as model:
        context = config.get("context", 1024)
        assert model.max_length == min(window or context, context)
        assert model.context_length == min(window or 4096, context, 4096)


def test_nothing_goes_beyond_the_window(tiny_file: Callable[..., Path]) -> None:
    path = tiny_file("mistral", sliding_window=WINDOW)
    with pytest.raises(UsageError, match=f"context_length is 41: expected at most {WINDOW}"):
        GritLM(path, threads=1, context_length=WINDOW + 1)
    with GritLM(path, threads=1) as model:
        with pytest.raises(InputTooLongError, match=f"over the limit of {WINDOW}"):
            model.encode(LONG, max_length=None)
        with pytest.raises(InputTooLongError, match=f"the context holds {WINDOW}"):
            model.generate(LONG)
        answer = model.generate("Once", stream=True, temperature=0, grammar="root ::= [a-z]{99}")
        list(answer)
        assert (answer.finish_reason, len(answer.tokens)) == ("context", WINDOW)
        assert len(model.encode("Once upon a time")) == model.dimension


def test_within_the_window_nothing_changes(tiny_file: Callable[..., Path]) -> None:
    with (
        GritLM(tiny_file("mistral", sliding_window=WINDOW), threads=1) as windowed,
        GritLM(tiny_file("mistral", sliding_window=None), threads=1) as plain,
    ):
        assert (windowed.encode("Once upon a time") == plain.encode("Once upon a time")).all()
