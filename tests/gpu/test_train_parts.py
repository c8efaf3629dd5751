"""Folders cut into parts and joined: whole, in any order of coming, never mixed or damaged."""

from pathlib import Path

import numpy as np
import pytest
from training.parts import archive, cut, join, keep, missing

from gritlite import FileError, FormatError


def parts(folder: Path, seed: int = 0) -> list[Path]:
    """Three parts, in folders of their own, of a folder with two files."""
    content = folder / f"content{seed}"
    (content / "deep").mkdir(parents=True)
    random = np.random.default_rng(seed)
    (content / "a").write_bytes(random.bytes(1500))
    (content / "deep" / "b").write_bytes(b"b" * 100_000)
    archive(content, folder / "whole")
    size = (folder / "whole").stat().st_size
    return cut(folder / "whole", folder / f"cut{seed}", "pack", -(-size // 3), apart=True)


def test_parts_join_to_the_folder_that_was_cut(tmp_path: Path) -> None:
    made, store = parts(tmp_path), tmp_path / "store"
    assert [part.parent.name for part in made] == ["1", "2", "3"]
    keep([made[2], made[0].parent], store)
    assert missing(store, "pack") == ["pack part 2 of 3"]
    keep([made[1]], store)
    assert missing(store, "pack") == []
    folder = join(store, "pack")
    assert folder is not None
    assert (folder / "a").read_bytes() == (tmp_path / "content0" / "a").read_bytes()
    assert (folder / "deep" / "b").read_bytes() == b"b" * 100_000


def test_a_folder_that_is_joined_stays(tmp_path: Path) -> None:
    store = tmp_path / "store"
    keep(parts(tmp_path), store)
    folder = join(store, "pack")
    assert folder is not None
    (folder / "run").mkdir()
    assert join(store, "pack") == folder
    assert (folder / "run").exists()


def test_the_same_folder_gives_the_same_parts(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.mkdir()
    (content / "a").write_text("words")
    archive(content, tmp_path / "one")
    (content / "a").write_text("words")  # at another time
    archive(content, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_parts_of_another_archive_take_the_place_of_older_ones(tmp_path: Path) -> None:
    store = tmp_path / "store"
    keep(parts(tmp_path), store)
    join(store, "pack")
    newer = parts(tmp_path, seed=1)
    keep(newer[:1], store)
    assert missing(store, "pack") == ["pack part 2 of 3", "pack part 3 of 3"]
    assert [path.name for path in store.iterdir()] == [newer[0].name]


def test_a_damaged_part_is_found_out(tmp_path: Path) -> None:
    made = parts(tmp_path)
    made[1].write_bytes(made[1].read_bytes()[:-1] + b"!")
    keep(made, tmp_path / "store")
    with pytest.raises(FormatError, match="damaged"):
        join(tmp_path / "store", "pack")


def test_cutting_anew_leaves_no_older_parts(tmp_path: Path) -> None:
    made = parts(tmp_path)
    (tmp_path / "whole").write_bytes(b"new")
    assert [p.name for p in cut(tmp_path / "whole", tmp_path / "cut0", "pack", 10)] == [
        p.name for p in (tmp_path / "cut0").rglob("pack-*")
    ]
    assert not made[0].exists()


def test_what_is_no_part(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no part"):
        keep([tmp_path], tmp_path / "store")
    assert missing(tmp_path / "store", "pack") == ["every part of pack"]
    assert join(tmp_path / "store", "pack") is None
