"""What the processor is: its name, and the instruction sets that kernels are chosen by."""

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_MACHINES_X86 = ("x86_64", "amd64", "i686", "i386")
# flags that matrix kernels are chosen by, on x86 and ARM
_KERNELS = ("sse", "ssse", "avx", "fma", "f16c", "amx", "asimd", "sve", "sme", "i8mm", "bf16")


def description() -> str:
    """The processor's names and flags as Linux lists them, elsewhere as Python knows it."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    )


def kernel_flags() -> tuple[str, ...]:
    """The instruction sets for matrix products, sorted; none where the system lists no flags."""
    words = {
        word
        for line in description().splitlines()
        if line.startswith(("flags", "Features"))
        for word in line.partition(":")[2].split()
    }
    return tuple(sorted(word for word in words if word.startswith(_KERNELS)))


def is_x86() -> bool:
    """Whether the processor is one of the x86 family."""
    return platform.machine().lower() in _MACHINES_X86
