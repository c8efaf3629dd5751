"""One copy of libggml-base, found without importing llama_cpp."""

import ctypes
import importlib.util
import os
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


@pytest.mark.skipif(sys.platform != "linux", reason="built with another OpenMP")
@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ({}, ["OMP_WAIT_POLICY = 'PASSIVE'", "GOMP_SPINCOUNT = '300'"]),
        ({"OMP_WAIT_POLICY": "active"}, ["OMP_WAIT_POLICY = 'ACTIVE'"]),
        ({"GOMP_SPINCOUNT": "7"}, ["GOMP_SPINCOUNT = '7'"]),
    ],
)
def test_threads_that_wait_spin_little_unless_the_user_chose(
    setting: dict[str, str], shown: list[str]
) -> None:
    """As OpenMP itself tells when it is loaded."""
    kept = {name: text for name, text in os.environ.items() if "OMP_" not in name}
    environment = {**kept, "OMP_DISPLAY_ENV": "VERBOSE", **setting}
    code = "import os, gritlite.runtime.llama; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == setting.get("GOMP_SPINCOUNT", "None")
    assert all(line in done.stderr for line in shown)
