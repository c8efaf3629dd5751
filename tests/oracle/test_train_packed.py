"""The trainer's own pass over packed sequences: its losses and gradients are transformers' own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gritlite.convert.pretrained import load_model
from gritlite.train import head
from gritlite.train.attention import LENGTHS as LENGTH_STEP
from gritlite.train.attention import ROWS, by_total, pack, pad
from gritlite.train.model import AdaptedModel, computes_bfloat16
from gritlite.train.recipe import Adapter
from gritlite.train.teacher import Teacher
from gritlite.train.tokens import EmbedTokens, GenerateTokens
from tests.oracle.test_gpu_train import make_teacher
from tests.oracle.test_train import recipe_file, trained
from tests.some_texts import some_texts
from tests.tiny import make_checkpoint, make_trainable

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")
LENGTHS = (3, 40, 9, 17, 10, 3, 61, 11, 300)  # some alone in a group, some padded, some alike
KNOWN = ("llama-tied", "llama-head-dim", "llama-linear", "llama-llama3", "llama-yarn")
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
UNKNOWN: dict[str, dict[str, Any]] = {
    "llama-biases": {},
    "llama-tied": {"rope_parameters": DYNAMIC},
    "qwen2": {},
    "mistral": {},
}

Gradients = dict[str, Tensor]
Losses = Callable[[AdaptedModel], Tensor]


def made(base: Path, monkeypatch: pytest.MonkeyPatch, *, bfloat16: bool, own: bool) -> AdaptedModel:
    """A model with adapters that matter, computed by our own pass or by transformers."""
    with monkeypatch.context() as patched:
        patched.setattr("gritlite.train.model.computes_bfloat16", lambda _: bfloat16)
        if not own:
            patched.setattr("gritlite.train.model.is_known", lambda _: False)
        model = AdaptedModel(load_model(base), Adapter(rank=4, alpha=12), device=CPU)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters.values():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    return model


def sequences() -> list[tuple[int, ...]]:
    drawn = torch.Generator().manual_seed(2)
    return [tuple(torch.randint(3, 200, (n,), generator=drawn).tolist()) for n in LENGTHS]


def embedding(model: AdaptedModel) -> Tensor:
    vectors = model.vectors([EmbedTokens(ids, 2) for ids in sequences()])
    return (vectors @ vectors.T - torch.eye(len(LENGTHS))).square().sum()


def generative(model: AdaptedModel) -> Tensor:
    samples = [GenerateTokens(ids, _learned(len(ids))) for ids in sequences()]
    return torch.stack([losses.mean() for losses in model.token_losses(samples)]).sum()


def cached(model: AdaptedModel) -> Tensor:
    samples = [GenerateTokens(s, _learned(len(s)), _halves(len(s) // 2)) for s in sequences()]
    return torch.cat(model.token_losses(samples)).mean()


def _halves(length: int) -> tuple[int, ...]:
    """One document or two, of so many tokens together."""
    return (length,) if length % 2 else (length // 2, length - length // 2)


def _learned(length: int) -> tuple[bool, ...]:
    return (False, *[place % 3 > 0 for place in range(length - 1)])


def computed(model: AdaptedModel, losses: Losses) -> tuple[Tensor, Gradients]:
    loss = losses(model)
    loss.backward()
    gradients = {name: p.grad for name, p in model.parameters.items() if p.grad is not None}
    assert gradients.keys() == model.parameters.keys()
    return loss.detach(), gradients


def error(found: Tensor, expected: Tensor) -> float:
    """The relative error, of the whole tensor."""
    return float((found - expected).norm() / expected.norm())


def check_equal(found: tuple[Tensor, Gradients], expected: tuple[Tensor, Gradients]) -> None:
    """Losses and gradients in float32, but for rounding."""
    (loss, gradients), (other, others) = found, expected
    assert error(loss, other) < 1e-5
    for name, gradient in gradients.items():
        assert error(gradient, others[name]) < 1e-5, name


@pytest.mark.parametrize("losses", [embedding, generative, cached])
@pytest.mark.parametrize("case", KNOWN)
def test_in_float32_loss_and_gradients_are_transformers_own(
    case: str, losses: Losses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_checkpoint(tmp_path / "base", case)
    ours = made(base, monkeypatch, bfloat16=False, own=True)
    assert ours.description == "cpu, float32, packed"
    loss, gradients = computed(ours, losses)
    plain = made(base, monkeypatch, bfloat16=False, own=False)
    assert plain.description == "cpu, float32, padded"
    expected, plains = computed(plain, losses)
    check_equal((loss, gradients), (expected, plains))


@pytest.mark.parametrize("losses", [embedding, generative, cached])
def test_bfloat16_rounds_no_more_than_transformers_under_autocast(
    losses: Losses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-tied", hidden=128, feed_forward=256, layers=4)
    exact, expected = computed(made(base, monkeypatch, bfloat16=False, own=False), losses)
    errors = {}
    for own in (True, False):
        loss, gradients = computed(made(base, monkeypatch, bfloat16=True, own=own), losses)
        assert not own or error(loss, exact) < 2**-8
        joined = torch.cat([gradient.flatten() for gradient in gradients.values()])
        errors[own] = error(joined, torch.cat([expected[name].flatten() for name in gradients]))
    assert 0 < errors[True] < 1.25 * errors[False]


@pytest.mark.parametrize("case", UNKNOWN)
def test_other_architectures_go_through_transformers(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_checkpoint(tmp_path / "base", case, **UNKNOWN[case])
    model = made(base, monkeypatch, bfloat16=False, own=True)
    assert model.description == "cpu, float32, padded"
    computed(model, embedding)


def test_weights_are_held_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-tied")
    ours = made(base, monkeypatch, bfloat16=True, own=True)
    attention = ours.peft.base_model.model.model.layers[0].self_attn
    q, k = (layer.base_layer.weight for layer in (attention.q_proj, attention.k_proj))
    assert q.dtype == torch.bfloat16
    assert q.untyped_storage().data_ptr() == k.untyped_storage().data_ptr()


@pytest.mark.parametrize(("own", "most"), [(True, 8192), (False, 4096)])
def test_a_packed_graph_holds_more_tokens_unless_the_recipe_limits_it(
    own: bool, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gritlite.train.model.is_known", lambda _: own)
    base = make_trainable(tmp_path / "base")
    recipe = recipe_file(tmp_path, base, 2)
    assert trained(recipe, 1).graph_tokens == most
    recipe.write_text(recipe.read_text() + "[memory]\ngraph_tokens = 100\n")
    assert trained(recipe, 1).graph_tokens == 100


def test_the_head_in_pieces_is_the_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "PIECE", 4)
    torch.manual_seed(3)
    weight, targets, weights = torch.randn(30, 8), torch.randint(0, 30, (10,)), torch.rand(10)

    def slopes(losses: Callable[[Tensor], Tensor]) -> tuple[Tensor, Any]:
        torch.manual_seed(4)
        hidden = torch.randn(10, 8, requires_grad=True)
        found = losses(hidden)
        (found * weights).sum().backward()
        return found.detach(), hidden.grad

    ours = slopes(lambda hidden: head.cross_entropy(hidden, weight, targets))
    plain = slopes(lambda h: functional.cross_entropy(h @ weight.T, targets, reduction="none"))
    torch.testing.assert_close(ours, plain)


def test_a_pack_is_filled_at_its_end_only_and_groups_pad_little() -> None:
    ordered = sorted(sequences(), key=len)
    packed = pack(ordered, [()] * len(ordered))
    filling = -sum(LENGTHS) % ROWS
    assert packed.ids.tolist() == [token for ids in ordered for token in ids] + [0] * filling
    assert packed.positions.tolist() == [
        place for length in [*sorted(LENGTHS), filling] for place in range(length)
    ]
    assert len(packed.ids) == 4 * ROWS
    queries = [group.queries for group in packed.groups]
    assert all(rows.length % LENGTH_STEP == 0 for rows in queries)
    assert sum(rows.sequences * rows.length for rows in queries) < 1.5 * sum(LENGTHS)


def test_each_token_is_a_query_once_and_attends_to_what_padding_says() -> None:
    """Documents to themselves, what follows them to all before it: as `pad`'s mask has it."""
    ordered = sorted(sequences(), key=len)
    begun = [_halves(len(ids) // 2) for ids in ordered]
    packed = pack(ordered, begun)
    attends = torch.zeros(len(packed.ids), len(packed.ids))
    asked: list[int] = []
    for group in packed.groups:
        shape = group.queries.sequences, 1, group.queries.length, group.keys.length
        bias = torch.zeros(shape) if group.bias is None else group.bias
        rows = group.queries.places.view(group.queries.sequences, -1, 1)
        columns = group.keys.places.view(group.keys.sequences, 1, -1)
        attends.index_put_((rows, columns), (bias[:, 0] == 0).float(), accumulate=True)
        asked += group.queries.rows.tolist()
    assert sorted(asked) == list(range(len(packed.ids)))
    expected = torch.zeros_like(attends)
    start = 0
    for ids, documents in zip(ordered, begun, strict=True):
        part = slice(start, start + len(ids))
        expected[part, part] = pad([ids], [documents], CPU).mask[0, 0]
        start += len(ids)
    assert torch.equal(attends[:start] > 0, expected[:start])


def test_passes_hold_everything_once_and_are_full() -> None:
    passes = by_total(LENGTHS, 100)
    assert sorted(place for each in passes for place in each) == list(range(len(LENGTHS)))
    totals = [sum(LENGTHS[place] for place in each) for each in passes]
    assert totals == [93, 61, 300]


def bfloat16_recipe(folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> Path:
    """A recipe for a processor with products in bfloat16."""
    monkeypatch.setattr("gritlite.train.model.computes_bfloat16", lambda _: True)
    base = make_trainable(folder / "base")
    return recipe_file(folder, base, steps)


def test_in_bfloat16_too_a_resumed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = bfloat16_recipe(tmp_path, monkeypatch, 6)
    straight = trained(recipe, 6)
    trained(recipe, 3).save(tmp_path / "checkpoint.pt")
    second = trained(recipe, 6, tmp_path / "checkpoint.pt")
    for name, parameter in straight.model.parameters.items():
        assert torch.equal(parameter, second.model.parameters[name]), name
    assert {step.computed for step in second.steps} == {"cpu, bfloat16, packed"}


def test_precision_is_what_the_processor_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    for avx512, amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=avx512: found)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda found=amx: found)
        assert computes_bfloat16(CPU) == (avx512 or amx)


def test_a_teacher_in_bfloat16_has_the_same_similarities_but_for_rounding(tmp_path: Path) -> None:
    make_teacher(tmp_path / "teacher")
    words = [text for text in some_texts(24) if text.strip()]
    exact = Teacher(tmp_path / "teacher", CPU).vectors(words)
    rounded = Teacher(tmp_path / "teacher", CPU, torch.bfloat16).vectors(words)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded @ rounded.T - exact @ exact.T).abs().max() < 0.01


def test_a_run_has_its_teacher_in_the_precision_of_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = bfloat16_recipe(tmp_path, monkeypatch, 2)
    recipe.write_text(
        recipe.read_text().replace('["contrastive"]', '["distillation"]')
        + '[[embed.teacher]]\nfolder = "teacher"\n'
    )
    make_teacher(tmp_path / "teacher")
    given: list[torch.dtype] = []

    class Noting(Teacher):
        def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
            given.append(dtype)
            super().__init__(folder, device, dtype)

    monkeypatch.setattr("gritlite.train.teachers.Teacher", Noting)
    trained(recipe, 1)
    assert given == [torch.bfloat16]


@pytest.mark.parametrize("losses", [embedding, generative, cached])
def test_compiled_steps_give_the_same_loss_and_gradients(
    losses: Losses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_checkpoint(tmp_path / "base", "llama-tied")
    loss, gradients = computed(made(base, monkeypatch, bfloat16=False, own=True), losses)
    monkeypatch.setattr("gritlite.train.model.COMPILED", 0)
    compiled = made(base, monkeypatch, bfloat16=False, own=True)
    assert compiled.description == "cpu, float32, packed, compiled"
    check_equal(computed(compiled, losses), (loss, gradients))
