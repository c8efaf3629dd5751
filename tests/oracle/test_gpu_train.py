"""`scripts/gpu/pack` and `scripts/gpu/train` on the processor: five steps of a tiny pack."""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training import pack as packing
from training import train as training
from transformers import BertConfig, BertModel, BertTokenizer

from gritlite import FileError, GritLM, OutOfMemoryError, UsageError
from gritlite.convert import convert
from gritlite.convert.adapter import PROJECTION
from gritlite.train.card import fitting, graph_tokens
from gritlite.train.gradcache import Gradients
from gritlite.train.model import PACKED_GRAPH_TOKENS
from gritlite.train.projection import write_projection
from gritlite.train.recipe import Recipe
from gritlite.train.run import save_adapter
from gritlite.train.trainer import Trainer
from tests.oracle.test_train import recipe_file
from tests.tiny import make_trainable

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]

STEPS = 5
ALL_ROWS = 50  # in so many steps every row has its turn
PART = 150_000  # bytes: several parts

# what the machine with the GPU has not
WITHOUT_LLAMA = (
    "import sys; sys.modules['llama_cpp'] = None; from training.train import main; main()"
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with every objective, its base a GGUF file, its teacher a random encoder."""
    folder = tmp_path_factory.mktemp("recipe")
    checkpoint = make_trainable(folder / "checkpoint")
    convert(checkpoint, folder / "base.gguf", "f32")
    path = recipe_file(folder, Path("base.gguf"), STEPS)
    text = path.read_text().replace('["contrastive"]', '["contrastive", "distillation"]')
    text += '[[embed.teacher]]\nfolder = "teacher"\n'
    path.write_text(text.replace("[[source]]", "\n[[source]]"))
    make_teacher(folder / "teacher")
    return path


def make_teacher(folder: Path, *, width: int = 32, parents: bool = False) -> None:
    torch.manual_seed(2)
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *[f"##{c}" for c in letters]]
    folder.mkdir(parents=parents)
    (folder / "vocab.txt").write_text("\n".join(words))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=width,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)


@pytest.fixture(scope="module")
def parts(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    read, output = Recipe.read(recipe), tmp_path_factory.mktemp("parts")
    teach = packing.teacher(read, recipe.parent, tmp_path_factory.mktemp("vectors"))
    return packing.pack(read, recipe.parent, output, PART, teach, ALL_ROWS)


def opened(parts: Sequence[Path], store: Path) -> Path:
    """A pack in a folder."""
    training.keep(parts, store)
    folder = training.join(store, "pack")
    assert folder is not None
    return folder


def steps(path: Path) -> list[dict[str, float]]:
    lines = (path / "loss.jsonl").read_text().splitlines()
    return [json.loads(line)["losses"] for line in lines]


def weights(output: Path) -> bytes:
    return (output / "adapter" / "adapter_model.safetensors").read_bytes()


def test_two_calls_train_without_llama_cpp(recipe: Path, parts: list[Path], tmp_path: Path) -> None:
    assert len(parts) > 1
    output = tmp_path / "out"

    def call(*given: Path) -> str:
        options = ["--steps", str(STEPS), "--store", str(tmp_path / "store"), "-o", str(output)]
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_LLAMA, *map(str, given), *options],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ".:scripts/gpu", "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = call(parts[0].parent)
    assert f"still missing: pack part 2 of {len(parts)}" in told
    assert not output.exists()
    call(*parts[1:])
    found = json.loads((output / "train.json").read_text())
    assert (found["steps"], found["device"], found["state"]) == (STEPS, "cpu", "whole")
    assert set(found["losses"]) == {
        "cached",
        "contrastive",
        "distillation",
        "generative",
        "ranking",
    }
    files = [path for path in output.rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert max(path.stat().st_size for path in files) <= 16 << 20

    convert(recipe.parent / "base.gguf", tmp_path / "m.gguf", "f32", adapter=output / "adapter")
    convert(recipe.parent / "base.gguf", tmp_path / "base.gguf", "f32")
    with (
        GritLM(tmp_path / "m.gguf", threads=1) as ours,
        GritLM(tmp_path / "base.gguf", threads=1) as base,
    ):
        cosine = (ours.encode(["a few words"]) * base.encode(["a few words"])).sum()
    assert 0.2 < cosine < 0.9999


def test_a_pack_gives_the_bits_of_its_texts(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every objective but distillation, whose vectors are rounded."""
    read = Recipe.read(recipe)
    plain = tuple(
        dataclasses.replace(
            source, objectives=tuple(name for name in source.objectives if name != "distillation")
        )
        for source in read.source
    )
    read = dataclasses.replace(read, source=plain)
    texts = Trainer(read, recipe.parent / read.base, recipe.parent)
    expected = [step.losses for step in texts.run()]
    parts = packing.pack(read, recipe.parent, tmp_path / "parts", PART, None, 1)
    packed = opened(parts, tmp_path / "store")
    training.train(packed, tmp_path / "out", time.monotonic() + 600, STEPS)
    assert steps(tmp_path / "out") == expected


def test_an_adapter_to_begin_from_travels_with_its_projection(recipe: Path, tmp_path: Path) -> None:
    read = Recipe.read(recipe)
    first = Trainer(read, recipe.parent / read.base, recipe.parent)
    save_adapter(first, tmp_path / "earlier")
    width = first.model.peft.config.hidden_size
    write_projection(tmp_path / "earlier", np.random.default_rng(3).normal(size=(width, width)))
    read = dataclasses.replace(
        read,
        base=str(recipe.parent / read.base),
        adapter=dataclasses.replace(read.adapter, start="earlier"),
        embed=dataclasses.replace(read.embed, whitening=0.5, teacher=()),
        source=tuple(
            dataclasses.replace(
                source,
                file=str(recipe.parent / source.file),
                objectives=source.objectives[:1],
            )
            for source in read.source
        ),
    )
    texts = Trainer(read, Path(read.base), tmp_path)
    expected = [step.losses for step in texts.run()]
    for _ in texts.find_projection():
        pass
    assert texts.projection is not None
    made = packing.pack(read, tmp_path, tmp_path / "parts", PART, None, 1)
    packed = opened(made, tmp_path / "store")
    training.train(packed, tmp_path / "out", time.monotonic() + 600, STEPS)
    assert steps(tmp_path / "out") == expected
    found = np.load(tmp_path / "out" / "adapter" / PROJECTION)
    np.testing.assert_array_equal(found, texts.projection.astype(np.float16))


def test_distillation_is_that_of_the_texts_but_for_rounding(
    recipe: Path, parts: list[Path], tmp_path: Path
) -> None:
    read = Recipe.read(recipe)
    texts = Trainer(read, recipe.parent / read.base, recipe.parent)
    packed = opened(parts, tmp_path / "store")
    training.train(packed, tmp_path / "out", time.monotonic() + 600, STEPS)
    for ours, theirs in zip(steps(tmp_path / "out"), texts.run(), strict=True):
        assert ours == pytest.approx(theirs.losses, rel=0.02)


def test_a_run_that_stops_goes_on_elsewhere_with_the_same_bits(
    parts: list[Path], tmp_path: Path
) -> None:
    straight = opened(parts, tmp_path / "first")
    training.train(straight, tmp_path / "straight", time.monotonic() + 600, STEPS)
    begun = opened(parts, tmp_path / "second")
    training.train(begun, tmp_path / "begun", time.monotonic(), STEPS)  # no time is left
    assert len(steps(tmp_path / "begun")) == 1
    assert weights(tmp_path / "begun") != weights(tmp_path / "straight")
    other = opened([*parts, tmp_path / "begun"], tmp_path / "third")
    training.place_state(tmp_path / "third", other / "run")
    training.train(other, tmp_path / "ended", time.monotonic() + 600, None)
    assert steps(tmp_path / "ended") == steps(tmp_path / "straight")
    assert weights(tmp_path / "ended") == weights(tmp_path / "straight")
    found = json.loads((tmp_path / "ended" / "train.json").read_text())
    assert (found["steps"], found["steps_resumed"]) == (STEPS, 1)


def test_steps_are_those_that_time_allows(parts: list[Path], tmp_path: Path) -> None:
    packed = opened(parts, tmp_path / "store")
    read = dataclasses.replace(Recipe.read(packed / "recipe.toml"), steps=1_000_000)
    found = training.fitted(packed, read, time.monotonic() + 60, None)
    assert 24 < found.steps < 100_000
    with pytest.raises(UsageError, match="no time is left"):
        training.fitted(packed, read, time.monotonic(), None)


def test_less_is_taken_at_once_until_memory_holds_it(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Recipe.read(recipe)
    trainer = Trainer(read, recipe.parent / read.base, recipe.parent)
    plain, least = Gradients.of_vectors, 2048

    def of_vectors(self: Gradients, *given: Any) -> float:
        if trainer.graph_tokens > least:
            raise torch.OutOfMemoryError("tried to allocate")
        return plain(self, *given)

    monkeypatch.setattr(Gradients, "of_vectors", of_vectors)
    assert len(training.probed(trainer)) == STEPS
    assert trainer.recipe.memory.graph_tokens == 2048
    least, trainer.steps = 0, []
    with pytest.raises(OutOfMemoryError, match="does not hold a step: tried to allocate"):
        training.probed(trainer)


def test_a_state_too_large_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FILE_BYTES", 1000)
    (tmp_path / "run").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(np.random.default_rng(0).bytes(5000))
    assert training.write_state(tmp_path / "run", tmp_path / "out").startswith("left behind")
    assert not list((tmp_path / "out").iterdir())


def test_only_rows_that_steps_come_to_are_distilled(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def teach(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return np.ones((len(texts), 4), np.float32)

    packing.pack(Recipe.read(recipe), recipe.parent, tmp_path, PART, teach, 2)
    told = capsys.readouterr().err
    assert "pairs.npz: 8 of 20 rows" in told
    assert "chats.npz: 20 of 20 rows" in told
    assert len(asked) == 16


def test_a_tree_that_leaves_no_room() -> None:
    assert packing.part_bytes(12 << 20) == 50 << 20
    with pytest.raises(FileError, match="leaves no room"):
        packing.part_bytes(62 << 20)


def test_a_batch_is_sized_to_the_memory_that_is_free(recipe: Path) -> None:
    assert fitting(free=8_000_000, used=1_000, tokens=10) == 40_000
    read = Recipe.read(recipe)
    trainer = Trainer(read, recipe.parent / read.base, recipe.parent)
    assert graph_tokens(trainer.model) == PACKED_GRAPH_TOKENS
