"""The command `gritlite convert --format onnx`."""

import json
import sys

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from gritlite.cli.commands.convert import command
from gritlite.errors import MissingExtraError, OutputExistsError, UsageError
from tests.tiny import make_checkpoint


def convert(*arguments):
    """Run the command in this process. Returns click's result, or raises the command's error."""
    result = CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


@pytest.mark.parametrize("precision", [None, "fast", "float32"])
def test_a_checkpoint_becomes_a_folder(tmp_path, precision):
    make_checkpoint(tmp_path / "model")
    output = tmp_path / "onnx"
    chosen = ("--precision", precision) if precision else ()
    result = convert(tmp_path / "model", "--format", "onnx", "-o", output, *chosen)
    size = sum((output / name).stat().st_size for name in ("model.onnx", "model.onnx_data"))
    assert result.output == f"{output}: {size / 2**20:.1f} MiB, {precision or 'exact'}\n"
    original = json.loads((tmp_path / "model" / "config.json").read_text())
    assert json.loads((output / "config.json").read_text()) == original
    assert (output / "tokenizer.json").is_file()
    session = onnxruntime.InferenceSession(output / "model.onnx")
    inputs = {name: np.full((1, 5), 9, np.int64) for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][:] = 1
    (hidden,) = session.run(None, inputs)
    assert np.isfinite(hidden).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "onnx"]


def test_a_gguf_file_has_no_tokenizer_files(tiny_path, tmp_path):
    result = convert(tiny_path, "--format", "onnx", "-o", tmp_path / "onnx")
    assert "has no tokenizer" in result.stderr
    with pytest.raises(OutputExistsError):
        convert(tiny_path, "--format", "onnx", "-o", tmp_path / "onnx")
    convert(tiny_path, "--format", "onnx", "-o", tmp_path / "onnx", "--force")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "onnx", "--type", "q8_0"), "--type is for --format gguf"),
        (("--format", "onnx", "--adapter", "a"), "--adapter is for --format gguf"),
        (("--format", "onnx", "--bits", "4"), "--bits is for --format gptq"),
        (("--format", "gptq", "--precision", "fast"), "--precision is for --format onnx"),
        (("--format", "gptq", "--threads", "1"), "--threads is for --format gguf"),
        (("--type", "f16", "--texts", "t"), "--texts is for --format gptq"),
    ],
    ids=str,
)
def test_options_of_other_formats(tiny_path, tmp_path, arguments, said):
    with pytest.raises(UsageError, match=said):
        convert(tiny_path, "-o", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_without_the_extra(tiny_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for name in [name for name in sys.modules if "onnx_" in name and name.startswith("gritlite")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"gritlite\[onnx\]"):
        convert(tiny_path, "--format", "onnx", "-o", tmp_path / "out")
