"""How many threads a matrix product should get: one for each physical core we may use."""

import os
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def default_threads() -> int:
    """Physical cores in this process's affinity mask; half the logical ones where unknown."""
    if hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
        cores = {_siblings(cpu) for cpu in allowed}
        if None not in cores:
            return len(cores)
        return len(allowed)
    return max(1, (os.cpu_count() or 2) // 2)


def _siblings(cpu: int) -> str | None:
    try:
        return Path(_TOPOLOGY.format(cpu)).read_text(encoding="ascii")
    except OSError:
        return None
