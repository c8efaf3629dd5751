"""llama.cpp's libraries, which llama_cpp and gritlite load by their paths."""

from pathlib import Path

from PyInstaller.utils.hooks import get_package_paths

from gritlite.freezing.llama_libraries import needed

_folder = Path(get_package_paths("llama_cpp")[1], "lib")
binaries = [
    (str(_folder / name), "llama_cpp/lib")
    for name in needed(path.name for path in _folder.iterdir())
]
excludedimports = ["llama_cpp.server"]
