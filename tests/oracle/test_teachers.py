"""Teachers: their vectors are made once, kept when a run stops, and several speak as one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gritlite import FileError, UsageError
from gritlite.convert import convert
from gritlite.system.locks import exclusive
from gritlite.train import teachers as module
from gritlite.train.recipe import TeacherShare
from gritlite.train.run import train
from gritlite.train.teacher import PASS_CHARACTERS, Teacher, passes
from gritlite.train.teachers import Teachers
from tests.oracle.test_gpu_train import make_teacher
from tests.oracle.test_train import recipe_file
from tests.some_texts import some_texts
from tests.tiny import make_trainable

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]
CPU = torch.device("cpu")
TEXTS = [text for text in some_texts(30) if text.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders, of 32 and 16 dimensions."""
    folder = tmp_path_factory.mktemp("encoders")
    make_teacher(folder / "wide")
    make_teacher(folder / "narrow", width=16)
    return folder


def opened(folder: Path, kept: Path, **shares: float) -> Teachers:
    named = [TeacherShare(name, share) for name, share in shares.items()]
    return Teachers(named, folder, kept, CPU)


def made(teachers: Teachers, texts: list[str]) -> int:
    """How many vectors it makes; it says so as it goes on."""
    steps = list(teachers.prepare(texts))
    assert all(done <= total == steps[-1][0] for done, total in steps)
    return steps[-1][0] if steps else 0


def similarities(vectors: Any) -> Any:
    return np.asarray(vectors) @ np.asarray(vectors).T


def test_similarities_are_the_mean_of_the_teachers(folder: Path, tmp_path: Path) -> None:
    teachers = opened(folder, tmp_path, wide=3, narrow=1)
    assert made(teachers, TEXTS) == 2 * len(set(TEXTS))
    wide, narrow = (
        similarities(Teacher(folder / name, CPU).vectors(TEXTS)) for name in ("wide", "narrow")
    )
    found = teachers.vectors(TEXTS)
    assert found.shape == (len(TEXTS), 48)
    assert found.dtype == np.float32
    np.testing.assert_allclose(similarities(found), 0.75 * wide + 0.25 * narrow, atol=1e-3)


def test_vectors_are_made_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = opened(folder, tmp_path, wide=1), opened(folder, tmp_path, wide=1)
    assert first.missing(TEXTS) == other.missing(TEXTS) == len(set(TEXTS))
    assert made(first, TEXTS[:9]) == 9
    assert made(first, TEXTS) == len(set(TEXTS)) - 9
    monkeypatch.setattr(module, "Teacher", None)  # nothing is loaded any more
    assert made(other, TEXTS) == 0
    again = opened(folder, tmp_path, wide=1)
    assert again.missing(TEXTS) == made(again, TEXTS) == 0
    np.testing.assert_array_equal(again.vectors(TEXTS), first.vectors(TEXTS))


def test_another_teacher_or_precision_has_vectors_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "encoders"
    make_teacher(changed / "wide", parents=True)
    list(opened(changed, tmp_path / "kept", wide=1).prepare(TEXTS))
    config = json.loads((changed / "wide" / "config.json").read_text())
    (changed / "wide" / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert opened(changed, tmp_path / "kept", wide=1).missing(TEXTS)
    monkeypatch.setattr("gritlite.train.model.computes_bfloat16", lambda _: True)
    assert opened(folder, tmp_path / "kept", wide=1).missing(TEXTS)


def test_one_run_makes_vectors_at_a_time(folder: Path, tmp_path: Path) -> None:
    teachers = opened(folder, tmp_path, wide=1)
    with (
        exclusive(tmp_path / "lock", waiting=lambda: None),
        pytest.raises(UsageError, match="another run is making teachers' vectors"),
    ):
        next(teachers.prepare(TEXTS))


def test_a_folder_that_is_no_encoder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"config\.json"):
        opened(folder, tmp_path, none=1)


def by_four(texts: Sequence[str]) -> list[Sequence[str]]:
    """Passes of four texts."""
    return [texts[start : start + 4] for start in range(0, len(texts), 4)]


def test_passes_are_small_enough_to_show_progress() -> None:
    texts = sorted(some_texts(60) * 40, key=len)
    groups = passes(texts)
    assert [text for group in groups for text in group] == texts
    assert len(groups) > 3
    for group in groups:
        assert len(group) == 1 or len(group) * len(group[-1]) <= PASS_CHARACTERS


def test_a_run_that_is_stopped_while_it_is_taught(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "passes", by_four)
    base = make_trainable(tmp_path / "base")
    convert(base, tmp_path / "base.gguf", "f32")
    path = recipe_file(tmp_path, tmp_path / "base.gguf", 6)
    text = path.read_text().replace('["contrastive"]', '["contrastive", "distillation"]')
    path.write_text(text + f'[[embed.teacher]]\nfolder = "{folder / "wide"}"\n')
    seen: list[tuple[int, int]] = []

    def on_teach(done: int, total: int) -> None:
        seen.append((done, total))

    run = tmp_path / "run"
    report = train(path, run, on_teach=on_teach, stopping=lambda: len(seen) == 3)
    assert (report.steps, report.finished) == (0, False)
    assert seen[-1] == (12, 24)  # of 40 texts: every second step comes to 4 pairs
    report = train(path, run, resume=True, on_teach=on_teach)
    assert report.finished
    assert seen[3] == (4, 12)
    straight = train(path, tmp_path / "straight")
    weights = "adapter/adapter_model.safetensors"
    assert (straight.folder / weights).read_bytes() == (run / weights).read_bytes()
