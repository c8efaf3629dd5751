"""Parts of a batch in several threads: the gradient of the whole, the same bits every time."""

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gritlite.train import objectives
from gritlite.train.gradcache import Gradients
from gritlite.train.model import AdaptedModel
from gritlite.train.tokens import GenerateTokens
from gritlite.train.workers import LEAST_TOKENS, Workers
from tests.oracle.test_train import adapted, texts, unit
from tests.tiny import make_checkpoint

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("base") / "base", "llama-tied")


def gradients(base: Path, workers: Workers, most: int) -> tuple[list[float], list[Tensor]]:
    """The losses of an embedding and of a generative batch, and the sum of their gradients."""
    model = adapted(base)
    added = Gradients(list(model.parameters.values()), most, workers)
    return _losses(added, model), [
        p.grad.clone() for p in model.parameters.values() if p.grad is not None
    ]


def _losses(added: Gradients, model: AdaptedModel) -> list[float]:
    sample, teacher = texts(60), unit(60, 6)
    samples = [GenerateTokens(t.ids, (False,) + (True,) * (len(t.ids) - 1)) for t in sample]
    embedding = added.of_vectors(
        model.vectors, sample, lambda vectors: objectives.distillation(vectors, teacher)
    )
    return [embedding, added.of_tokens(model.token_losses, samples, objectives.by_sample, 0.5)]


@pytest.mark.parametrize("most", [100_000, 500])
def test_gradients_of_parts_are_those_of_the_whole(base: Path, most: int) -> None:
    losses, plain = gradients(base, Workers(1), 100_000)
    found, added = gradients(base, Workers(3), most)
    assert found == pytest.approx(losses, rel=1e-4)
    for gradient, expected in zip(added, plain, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_they_have_the_same_bits_every_time(base: Path) -> None:
    (losses, first), (again, second) = (gradients(base, Workers(3), 100_000) for _ in range(2))
    assert losses == again
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_parts_have_about_the_same_number_of_tokens() -> None:
    lengths = [7, 300, 20, 41, 260, 33, 90, 12, 155, 64]
    parts = Workers(2).split(lengths)
    assert sorted(place for part in parts for place in part) == list(range(10))
    short, long = (sum(lengths[place] for place in part) for part in parts)
    assert abs(short - long) <= max(lengths)
    assert max(lengths[place] for place in parts[0]) <= min(lengths[place] for place in parts[1])


def test_a_small_batch_is_not_divided() -> None:
    assert Workers(4).split([LEAST_TOKENS]) == [[0]]
    assert len(Workers(4).split([LEAST_TOKENS // 2] * 6)) == 3


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fail(_part: int) -> int:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        list(Workers(2).map(fail, [1, 2]))


def test_threads_see_the_settings_of_torchs_compiler() -> None:
    from torch._dynamo import config

    with config.patch(recompile_limit=77):
        assert list(Workers(2).map(lambda _: config.recompile_limit, range(4))) == [77] * 4


def test_a_caller_that_stops_leaves_what_has_not_begun() -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def compute(part: int) -> int:
        begun.append(part)
        if part:
            stopped.wait(60)
        return part

    workers = Workers(2)
    results = workers.map(compute, range(50))
    assert next(results) == 0
    results.close()
    stopped.set()
    assert list(workers.map(abs, range(4))) == [0, 1, 2, 3]  # the threads have come this far
    assert set(begun) <= {0, 1, 2}
