"""One copy of libggml-base, found without importing llama_cpp."""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from gritlite.errors import LibraryError
from gritlite.system import ggml_library
from gritlite.system.ggml_library import function, library_folder

TYPE_SIZE = ("ggml_type_size", ctypes.c_size_t, ctypes.c_int)


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_a_function_answers() -> None:
    assert function(*TYPE_SIZE)(0) == 4  # GGML_TYPE_F32


def test_callers_share_no_types() -> None:
    ours = function(*TYPE_SIZE)
    theirs = function("ggml_type_size", ctypes.c_uint8, ctypes.c_int)
    assert (ours.restype, theirs.restype) == (ctypes.c_size_t, ctypes.c_uint8)


def test_llama_cpp_is_not_imported() -> None:
    code = "from gritlite.quant import ggml, rows; ggml.prepare(8); import sys\n"
    assert run(code + "print('llama_cpp' in sys.modules)") == "False\n"


@pytest.mark.parametrize("first", ["quant", "runtime"])
def test_one_copy_is_mapped(first: str) -> None:
    imports = ["from gritlite.quant import ggml; ggml.prepare(8)", "import gritlite.runtime.llama"]
    if first == "runtime":
        imports.reverse()
    code = "\n".join(
        [
            *imports,
            "lines = open('/proc/self/maps').read().splitlines()",
            "print(len({line.split()[-1] for line in lines if 'libggml-base' in line}))",
        ]
    )
    assert run(code) == "1\n"


def test_a_folder_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    with pytest.raises(LibraryError, match=f"no libggml-base in {tmp_path}: reinstall"):
        function(*TYPE_SIZE)


def test_a_file_that_is_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", str(tmp_path))
    broken = tmp_path / ggml_library._FILE_NAMES[0].format("ggml-base")
    broken.write_bytes(b"no library")
    with pytest.raises(LibraryError, match=f"{broken} cannot be loaded: .*; install what"):
        function(*TYPE_SIZE)


def test_a_library_without_the_function() -> None:
    with pytest.raises(LibraryError, match=r"cannot be used: .*ggml_nothing.*; reinstall"):
        function("ggml_nothing", None)


def test_without_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(LibraryError, match="pip install llama-cpp-python"):
        library_folder()
