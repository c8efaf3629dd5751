"""The number of threads for matrix products: one for each physical core we may use."""

import os
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def default_threads() -> int:
    """The physical cores in this process's affinity mask.

    Where the topology is unknown, all processors in the mask; where there is no mask,
    half the logical processors.
    """
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
