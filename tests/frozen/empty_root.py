"""A root folder that holds an app, the system's C library and zlib, and no Python."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

# the C library's parts, which PyInstaller leaves to the system, and what its own program needs
_SYSTEM = re.compile(r"(ld-linux.*|lib(c|m|mvec|dl|pthread|rt|util|resolv|z))\.so\.\d+")


class EmptyRoot:
    """Make the folder; `command` runs a program in it. Needs root, for chroot."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("proc", "tmp", "dev", "home"):
            (root / name).mkdir(parents=True)
        for path in _system_libraries():
            target = root / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)

    def add(self, path: Path, name: str) -> str:
        """Put a file or folder into the root; return its path there."""
        target = self.root / name
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True)
        else:
            try:
                os.link(path, target)
            except OSError:  # on another file system
                shutil.copy(path, target)
        return f"/{name}"

    def start(self, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start a program of the root, which sees no other file; its output is piped."""
        script = (
            'mount -t proc proc "$0/proc"; touch "$0/dev/null" "$0/dev/urandom"; '
            'for name in null urandom; do mount --bind "/dev/$name" "$0/dev/$name"; done; '
            'root=$0; exec env -i HOME=/home PATH=/nonexistent "$@"'
        )
        settings = [f"{name}={value}" for name, value in environment.items()]
        inner = [*settings, shutil.which("chroot") or "chroot", str(self.root), *command]
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, str(self.root), *inner],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def processes(self) -> Mapping[int, list[str]]:
        """The command lines of all processes that live in the root, by their ids."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "root").readlink() == self.root:
                    words = (folder / "cmdline").read_bytes().decode().split("\0")[:-1]
                    if words:  # else it has ended
                        found[int(folder.name)] = words
            except OSError:  # it has ended
                continue
        return found

    def wait_until_empty(self, seconds: float) -> None:
        """Wait until no process lives in the root. Fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


def _system_libraries() -> set[Path]:
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    paths = {Path(line.split(" => ")[1]) for line in listed.splitlines() if " => " in line}
    loader = subprocess.run(
        ["ldd", "/bin/sh"], capture_output=True, text=True, check=True
    ).stdout.split()
    return {
        path
        for path in {*paths, *(Path(word) for word in loader if word.startswith("/"))}
        if _SYSTEM.fullmatch(path.name)
    }
