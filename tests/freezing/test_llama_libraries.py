"""The libraries of llama_cpp that go into a frozen app."""

import pytest

from gritlite.freezing.llama_libraries import needed
from gritlite.system.ggml_library import library_folder

LINUX = [
    *("libggml.so", "libggml.so.0", "libggml.so.0.25.3", "libllama.so", "libllama.so.0"),
    *("libggml-cpu-haswell.so", "cmake", "ggml.pc", "libllama.so.0.5.0"),
]
MAC = ["libggml.dylib", "libggml.0.dylib", "libggml.0.25.3.dylib", "libllama.0.dylib"]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (LINUX, ["libggml-cpu-haswell.so", "libggml.so.0", "libllama.so"]),
        ([*MAC, "libllama.dylib"], ["libggml.0.dylib", "libllama.dylib"]),
        (MAC, ["libggml.0.dylib", "libllama.0.dylib"]),
        (["ggml.dll", "llama.dll", "llama.lib"], ["ggml.dll", "llama.dll"]),
    ],
)
def test_each_library_has_the_name_by_which_it_is_loaded(names, chosen):
    assert needed(names) == chosen
    assert needed(names[::-1]) == chosen


def test_the_installed_libraries():
    names = [path.name for path in library_folder().iterdir()]
    stems = {name.partition(".")[0] for name in names}
    assert {name.partition(".")[0] for name in needed(names)} == stems
    assert len(needed(names)) == len(stems)
