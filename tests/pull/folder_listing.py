import time
from pathlib import Path


def files_in(folder):
    """Every file under a folder, as paths within it."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def wait_until_clean(cache):
    """Wait until a killed pull's downloads are gone, and every process that was at work on them."""
    pending, deadline = cache / "pending", time.monotonic() + 20
    while any(pending.iterdir()) or _mentioning(str(pending)):
        assert time.monotonic() < deadline, (
            f"still there: {files_in(cache)}, {_mentioning(pending)}"
        )
        time.sleep(0.05)


def _mentioning(words):
    """The command lines of running processes in which the words occur (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
        if str(words) in line:
            found.append(line)
    return found
