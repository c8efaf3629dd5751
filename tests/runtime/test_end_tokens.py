"""Every token that a checkpoint names as an end ends an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from gritlite import GritLM
from gritlite.convert import convert
from gritlite.errors import FormatError, TokenizerError
from gritlite.modelfile.header import read_header
from gritlite.prompt import END_TOKENS_KEY, end_tokens
from tests.tiny import make_checkpoint

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}


def converted(folder: Path, **config: Any) -> Path:
    make_checkpoint(folder / "checkpoint", "llama-head-dim", **config)
    convert(folder / "checkpoint", folder / "model.gguf", "f32")
    return folder / "model.gguf"


def answer_of(path: Path) -> tuple[list[int], str | None]:
    with GritLM(path, threads=1) as model:
        answer = model.generate("Once upon a time", stream=True, **GREEDY)
        list(answer)
        return answer.generated, answer.finish_reason


@pytest.mark.parametrize("place", ["config.json", "generation_config.json", "both"])
def test_an_answer_ends_at_each(tmp_path: Path, place: str) -> None:
    whole, reason = answer_of(converted(tmp_path / "plain"))
    assert reason == "length"
    end = whole[4]
    before = whole[: whole.index(end)]
    folder = tmp_path / "ends"
    config = {} if place == "generation_config.json" else {"eos_token_id": [2, end]}
    make_checkpoint(folder / "checkpoint", "llama-head-dim", **config)
    if place != "config.json":
        text = json.dumps({"eos_token_id": end if place == "both" else [end, 2, -1]})
        (folder / "checkpoint" / "generation_config.json").write_text(text)
    convert(folder / "checkpoint", folder / "model.gguf", "f32")
    assert end in end_tokens(read_header(folder / "model.gguf").metadata)
    assert answer_of(folder / "model.gguf") == (before, "stop")
    convert(folder / "model.gguf", folder / "again.gguf", "f32")
    assert answer_of(folder / "again.gguf") == (before, "stop")


def test_a_file_with_one_end_is_as_it_was(tmp_path: Path) -> None:
    assert END_TOKENS_KEY not in read_header(converted(tmp_path)).metadata


def test_an_end_that_is_not_a_token(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="an end token has the id 99999, which does not exist"):
        converted(tmp_path, eos_token_id=[2, 99999])


@pytest.mark.parametrize("value", ["2", 2, [2.5], {"a": 1}])
def test_a_strange_value_in_a_file(value: object) -> None:
    with pytest.raises(FormatError, match="not an array of token ids"):
        end_tokens({END_TOKENS_KEY: value})
