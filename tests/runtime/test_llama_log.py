"""Reasons that llama.cpp gives in its log reach the error, whoever else uses its log."""

from pathlib import Path

import pytest

from gritlite.errors import FormatError
from gritlite.runtime.llama import Weights
from gritlite.runtime.llama.library import C
from tests.sample_gguf import write_model


def test_the_reason_is_known_after_another_user_took_the_log(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-64])

    @C.llama_log_callback
    def ignore(_level: int, _text: bytes, _data: object) -> None:
        pass

    C.llama_log_set(ignore, None)
    with pytest.raises(FormatError, match="data is not within the file bounds"):
        Weights(path, gpu_layers=0)
