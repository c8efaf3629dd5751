"""Makes a wheel of llama-cpp-python as small as it can be: `slim_wheel.py WHEEL FOLDER`.

A wheel holds no links, so each library lies in it six times: under three names in
llama_cpp/lib, and again in lib/ beside headers that nothing at run time asks for.
What is kept is the name that is loaded: the versioned one by which the libraries
find each other, and for libllama, which nothing else links to, the one that
llama_cpp opens.
"""

import re
import sys
import zipfile
from pathlib import Path


def main() -> None:
    """Write the smaller wheel, under the same name."""
    wheel, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    slim(wheel, folder / wheel.name)


def slim(wheel: Path, smaller: Path) -> None:
    """Copy what `needed` says; RECORD loses the lines of the rest."""
    with (
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(smaller, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target,
    ):
        for member in source.infolist():
            if not needed(member.filename):
                continue
            data = source.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                lines = data.decode("utf-8").splitlines(keepends=True)
                kept = [line for line in lines if needed(line.partition(",")[0])]
                data = "".join(kept).encode("utf-8")
            target.writestr(member, data, zipfile.ZIP_DEFLATED)


def needed(name: str) -> bool:
    """Whether a member of the wheel is read at run time."""
    folder, _, file = name.rpartition("/")
    if folder == "llama_cpp/lib":
        return re.fullmatch(r"libllama\.so|libggml.*\.so\.\d+", file) is not None
    return folder.partition("/")[0] not in ("lib", "include", "bin")


if __name__ == "__main__":
    main()
