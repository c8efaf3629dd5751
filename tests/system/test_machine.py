"""The available memory."""

from pathlib import Path

from gritlite.system import machine


def test_this_machine_says_something_believable():
    assert 1 << 20 < machine.available_memory() < 1 << 50


def test_meminfo_counts_kibibytes(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:  100 kB\nMemAvailable:    42 kB\n")
    assert machine._meminfo(path) == 42 * 1024
    assert machine._meminfo(tmp_path / "none") is None


def group(folder: Path, limit: str, used: int, inactive_file: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive_file}\n")


def test_the_tightest_control_group_decides(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/user/job\n")
    group(tmp_path / "user", "1000", 400, inactive_file=50)
    group(tmp_path / "user" / "job", "900", 100)
    assert machine._control_group(membership, tmp_path) == 650
    group(tmp_path / "user", "max", 400)
    assert machine._control_group(membership, tmp_path) == 800
    group(tmp_path / "user" / "job", "900", 1000)
    assert machine._control_group(membership, tmp_path) == 0


def test_no_limit_and_no_version_2_leave_it_to_meminfo(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("1:memory:/job\n")
    assert machine._control_group(membership, tmp_path) is None
    membership.write_text("0::/\n")
    assert machine._control_group(membership, tmp_path) is None
