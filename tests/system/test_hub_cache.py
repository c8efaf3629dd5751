"""Models in the Hugging Face cache, as huggingface_hub lays it out."""

import os
from pathlib import Path

import pytest

from gritlite.errors import FileError
from gritlite.system import hub_cache
from gritlite.system.locate import locate

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
CHECKPOINT = ("config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json")


@pytest.fixture
def hub(tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path / "hf" / "hub"


def add(
    hub: Path, name: str, files: tuple[str, ...], commit: str = COMMIT, ref: str = "main"
) -> Path:
    """Lay a repository out as huggingface_hub does; returns the snapshot."""
    folder = hub / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for number, file in enumerate(files):
        blob = folder / "blobs" / f"{number:040}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_text(file)
        path = snapshot / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(blob, path.parent))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    return snapshot


def test_a_checkpoint_and_a_gguf_file(hub: Path) -> None:
    checkpoint = add(hub, "org/model", CHECKPOINT)
    gguf = add(hub, "org/files", ("a.Q4_0.gguf", "b.Q8_0.gguf", "README.md"))
    assert locate("org/model") == checkpoint
    assert locate("org/files:b.Q8_0.gguf") == gguf / "b.Q8_0.gguf"
    assert hub_cache.commit_of(checkpoint) == hub_cache.commit_of(gguf / "b.Q8_0.gguf") == COMMIT
    assert hub_cache.commit_of(Path("elsewhere.gguf")) is None
    with pytest.raises(FileError, match="several GGUF files"):
        locate("org/files")
    with pytest.raises(FileError, match=r"has no file \.\./\.\./x\.gguf"):
        locate("org/files:../../x.gguf")
    with pytest.raises(FileError, match="gritlite pull org/none"):
        locate("org/none")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
def test_other_places(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    snapshot = add(tmp_path / "elsewhere", "org/model", CHECKPOINT)
    assert locate("org/model") == snapshot
    monkeypatch.delenv(variable)
    monkeypatch.delenv("HF_HOME")
    home = tmp_path / "home" / ".cache" / "huggingface" / "hub"
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    snapshot = add(home, "org/model", CHECKPOINT)
    assert locate("org/model") == snapshot


def test_revisions(hub: Path) -> None:
    add(hub, "org/model", CHECKPOINT, OTHER, "refs-of-mine")
    main = add(hub, "org/model", CHECKPOINT, COMMIT)
    for revision, commit in (
        (None, COMMIT),
        ("main", COMMIT),
        ("refs-of-mine", OTHER),
        (OTHER, OTHER),
    ):
        found = hub_cache.find("org/model", revision)
        assert found is not None
        assert found.commit == commit
    for revision in ("none", "f" * 40, "../main", "/etc/passwd", ""):
        assert hub_cache.find("org/model", revision) is None
    (main.parents[1] / "refs" / "main").unlink()
    assert hub_cache.find("org/model") is None  # which of the two?


def test_a_single_snapshot_needs_no_reference(hub: Path) -> None:
    snapshot = add(hub, "org/model", CHECKPOINT)
    (snapshot.parents[1] / "refs" / "main").unlink()
    assert locate("org/model") == snapshot


def test_a_part_of_a_model_is_told(hub: Path) -> None:
    add(hub, "org/model", ("config.json", "tokenizer.json"))
    with pytest.raises(FileError, match="in the Hugging Face cache holds neither"):
        locate("org/model")


@pytest.mark.parametrize(
    "reference", ["../../../evil", "/etc", COMMIT[:39], "\xff" * 40, "a" * 5000]
)
def test_a_reference_that_is_no_commit(hub: Path, reference: str) -> None:
    snapshot = add(hub, "org/model", CHECKPOINT)
    add(hub, "org/model", (), OTHER, "other").mkdir(parents=True)
    path = snapshot.parents[1] / "refs" / "main"
    path.write_text(reference, "latin-1")
    if len(reference) > 1000:
        with pytest.raises(FileError):
            hub_cache.find("org/model")
    else:
        assert hub_cache.find("org/model") is None


def test_links_out_of_the_cache_are_refused(hub: Path, tmp_path: Path) -> None:
    snapshot = add(hub, "org/model", CHECKPOINT)
    (tmp_path / "secret").write_text("secret")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(FileError, match=r"config\.json is a link out of the Hugging Face cache"):
        locate("org/model")


def test_a_cache_that_is_a_link_itself(hub: Path, tmp_path: Path) -> None:
    snapshot = add(tmp_path / "disk", "org/model", CHECKPOINT)
    hub.parent.mkdir(parents=True)
    hub.symlink_to(tmp_path / "disk")
    assert locate("org/model").resolve() == snapshot.resolve()


def test_names_that_no_file_system_takes(hub: Path) -> None:
    for name in ("a" * 5000, "a/" + "b" * 300):
        with pytest.raises(FileError):
            locate(name)
