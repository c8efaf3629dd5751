"""How much memory is available on this machine."""

import ctypes
import sys
from pathlib import Path

from gritlite.errors import OutOfMemoryError

_CGROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that a process can take without swapping or being killed; None if unknown.

    Linux: MemAvailable, or what remains of the control group's limit (version 2) if that
    is less. macOS: the kernel's percentage (kern.memorystatus_level). Windows:
    GlobalMemoryStatusEx.
    """
    if sys.platform == "win32":
        return _windows()
    if sys.platform == "darwin":
        return _macos()
    known = [n for n in (_meminfo(), _control_group()) if n is not None]
    return min(known, default=None)


def check_free_memory(need: int, what: str, advice: str) -> None:
    """Raise OutOfMemoryError for a `need` of bytes that the system would end the process for."""
    free = available_memory()
    if free is not None and need > free:
        raise OutOfMemoryError(
            f"{what} needs {need >> 20:,} MiB besides the weights, but {free >> 20:,} MiB are "
            f"free: {advice}"
        )


def _meminfo(path: Path = Path("/proc/meminfo")) -> int | None:
    for line in _read(path).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _control_group(
    membership: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS
) -> int | None:
    """What remains of the limits of the process's control groups; None if there is no limit."""
    lines = _read(membership).splitlines()
    name = next((line[3:] for line in lines if line.startswith("0::")), None)
    if name is None:
        return None
    group = root / name.strip("/")
    remaining = [
        _remaining(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)
    ]
    return min((n for n in remaining if n is not None), default=None)


def _remaining(folder: Path) -> int | None:
    limit, used = _read(folder / "memory.max").strip(), _read(folder / "memory.current").strip()
    if not limit.isdigit() or not used.isdigit():
        return None  # "max", or no such file: no limit here
    statistics = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
    reclaimable = int(statistics.get("inactive_file", 0))
    return max(0, int(limit) - int(used) + reclaimable)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _macos() -> int | None:
    total, level = _sysctl("hw.memsize", 8), _sysctl("kern.memorystatus_level", 4)
    return None if total is None or level is None else total * level // 100


def _sysctl(name: str, size: int) -> int | None:
    value = ctypes.create_string_buffer(size)
    length = ctypes.c_size_t(size)
    library = ctypes.CDLL(None)
    status = library.sysctlbyname(name.encode(), value, ctypes.byref(length), None, 0)
    return None if status else int.from_bytes(value.raw[: length.value], sys.byteorder)


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total_physical", ctypes.c_uint64),
        ("available_physical", ctypes.c_uint64),
        ("total_page_file", ctypes.c_uint64),
        ("available_page_file", ctypes.c_uint64),
        ("total_virtual", ctypes.c_uint64),
        ("available_virtual", ctypes.c_uint64),
        ("available_extended_virtual", ctypes.c_uint64),
    )


def _windows() -> int | None:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    library = ctypes.CDLL("kernel32")
    if not library.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.available_physical)
