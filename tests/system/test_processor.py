"""The processor's flags, read from files that Linux would show."""

import platform

import pytest

from gritlite.system import processor

X86 = """
processor : 0
model name : A processor
flags  : fpu sse4_2 avx2 avx512_vnni amx_int8 rdseed
processor : 1
model name : A processor
flags  : fpu sse4_2 avx2 avx512_vnni amx_int8 rdseed
"""
ARM = """
processor : 0
Features : fp asimd asimddp i8mm bf16 crc32
"""


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (X86, ("amx_int8", "avx2", "avx512_vnni", "sse4_2")),
        (ARM, ("asimd", "asimddp", "bf16", "i8mm")),
    ],
)
def test_flags_of_kernels(tmp_path, monkeypatch, text, flags):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor.kernel_flags() == flags


def test_cores_alike_are_named_once(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(X86)
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    assert processor.description().count("A processor") == 1


def test_a_system_without_the_list(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    assert processor.description() == platform.processor()
    assert processor.kernel_flags() == ()
