"""Names and revisions that cannot be pulled."""

import pytest

from gritlite.errors import DownloadError, UsageError
from gritlite.pull.models import pull


def test_a_name_that_is_nothing(cache_folder):
    with pytest.raises(UsageError, match="nothing is not a model that can be pulled"):
        pull("nothing")


def test_a_model_of_the_catalog_has_no_revision(cache_folder):
    with pytest.raises(UsageError, match="the model default has only one revision"):
        pull("default", revision="main")


def test_a_hub_that_cannot_be_reached_leaves_what_the_cache_has(
    tmp_path, cache_folder, monkeypatch
):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hf" / "hub" / "models--org--model" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "model.gguf").write_bytes(b"")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def unreachable(*_, **__):
        raise DownloadError("cannot fetch org/model: no route")

    monkeypatch.setattr("gritlite.pull.huggingface.fetch", unreachable)
    said: list[str] = []
    assert pull("org/model", notify=said.append) == snapshot / "model.gguf"
    assert said == [
        "cannot fetch org/model: no route; used as it lies in the Hugging Face cache, "
        f"commit {commit}"
    ]
    for options in ({"force": True}, {"revision": "other"}):
        with pytest.raises(DownloadError):
            pull("org/model", **options)
