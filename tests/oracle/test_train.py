"""The trainer: its losses against formulas and transformers, gradient caching, exact resuming."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load as from_safetensors
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer

from gritlite import (
    ArchitectureError,
    FileError,
    FormatError,
    GritLM,
    OutputExistsError,
    UsageError,
    instruction,
)
from gritlite.convert import convert
from gritlite.convert.pretrained import load_model, load_tokenizer
from gritlite.prompt import EmbedFormat, cached_question
from gritlite.runtime.template import GRIT_TEMPLATE
from gritlite.train import objectives
from gritlite.train.attention import by_length, pad
from gritlite.train.gradcache import Gradients
from gritlite.train.model import AdaptedModel
from gritlite.train.recipe import Adapter, Recipe
from gritlite.train.rows import ChatRow, DocumentRow, Text
from gritlite.train.run import train, with_sorted_metadata
from gritlite.train.teacher import Teacher
from gritlite.train.tokens import EmbedTokens, Formatter, GenerateTokens
from gritlite.train.trainer import EmbedBatch, Trainer, learning_rate
from gritlite.train.workers import Workers
from tests.some_texts import some_texts
from tests.tiny import make_trainable

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("float32")]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trainable(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def model(base: Path) -> AdaptedModel:
    return adapted(base)


def adapted(base: Path, **options: Any) -> AdaptedModel:
    """A base with adapters that are not zero, so that they matter."""
    torch.manual_seed(0)
    made = AdaptedModel(load_model(base), Adapter(rank=4, alpha=8), device=CPU, **options)
    with torch.no_grad():
        for parameter in made.parameters.values():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    return made


def texts(count: int = 12) -> list[EmbedTokens]:
    random = np.random.default_rng(3)
    lengths = random.integers(3, 60, count)
    return [EmbedTokens(tuple(map(int, random.integers(3, 200, n))), 2) for n in lengths]


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


# --- objectives


def test_contrastive_is_cross_entropy_over_the_batch() -> None:
    queries, passages = unit(4, 8), unit(6, 8, seed=1)
    own = torch.zeros(4, 6, dtype=torch.bool)
    own[range(4), range(4)] = True
    expected = functional.cross_entropy(queries @ passages.T / 0.1, torch.arange(4))
    torch.testing.assert_close(objectives.contrastive(queries, passages, own, 0.1), expected)


def test_contrastive_leaves_a_querys_other_positives_out() -> None:
    queries, passages = unit(1, 8), unit(3, 8, seed=1)
    own = torch.tensor([[True, True, False]])
    s = queries[0] @ passages.T / 0.1
    each = [-torch.log_softmax(s[[place, 2]], 0)[0] for place in (0, 1)]
    torch.testing.assert_close(
        objectives.contrastive(queries, passages, own, 0.1), torch.stack(each).mean()
    )


def test_distillation_is_the_squared_error_of_similarities() -> None:
    from sklearn.metrics import mean_squared_error
    from sklearn.metrics.pairwise import cosine_similarity

    ours, theirs = unit(9, 8), unit(9, 5, seed=1)
    above = np.triu_indices(9, 1)
    error = mean_squared_error(cosine_similarity(ours)[above], cosine_similarity(theirs)[above])
    assert objectives.distillation(ours, theirs).item() == pytest.approx(error / 0.04, rel=1e-5)
    assert objectives.distillation(theirs, theirs).item() == pytest.approx(0, abs=1e-6)


def test_ranking_falls_as_the_order_gets_right() -> None:
    first = unit(20, 8)
    scores = torch.linspace(0, 1, 20)
    losses, agreements = [], []
    for noise in (2.0, 0.5, 0.0):
        angles = (1 - scores)[:, None] * 1.5 + noise * torch.randn(20, 1).sin()
        other = functional.normalize(unit(20, 8, seed=2), dim=1)
        across = functional.normalize(other - (other * first).sum(1, keepdim=True) * first, dim=1)
        second = angles.cos() * first + angles.sin() * across
        losses.append(objectives.ranking(first, second, scores).item())
        agreements.append(spearmanr((first * second).sum(1), scores).statistic)
    assert agreements[-1] == pytest.approx(1)
    assert losses[0] > losses[1] > losses[2]


def test_ranking_is_the_cosent_loss_of_sentence_transformers() -> None:
    from sentence_transformers.sentence_transformer import losses as reference

    first, second, scores = unit(7, 8), unit(7, 8, seed=1), torch.rand(7)

    class Model(torch.nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return features

    loss = reference.CoSENTLoss(Model(), scale=objectives.COSENT_SCALE)
    expected = loss.compute_loss_from_embeddings([first, second], scores)
    torch.testing.assert_close(objectives.ranking(first, second, scores), expected)


def test_vectors_are_cut_as_sentence_transformers_cuts_them() -> None:
    from sentence_transformers.util import truncate_embeddings

    vectors = unit(7, 16)
    whole, *parts = objectives.cut(vectors, (4, 8))
    assert whole is vectors
    for part, size in zip(parts, (4, 8), strict=True):
        expected = functional.normalize(truncate_embeddings(vectors, size), dim=1)
        torch.testing.assert_close(part, expected)


def test_generative_losses_weigh_tokens_samples_or_groups() -> None:
    losses = [torch.tensor([1.0]), torch.tensor([4.0, 4.0, 4.0]), torch.tensor([7.0])]
    assert objectives.by_token(losses) == pytest.approx(4.0)
    assert objectives.by_sample(losses) == pytest.approx(4.0)
    assert objectives.by_token(losses[:2]) == pytest.approx(13 / 4)
    assert objectives.by_sample(losses[:2]) == pytest.approx(2.5)
    assert objectives.mixed(losses) == pytest.approx((13 / 4 + 7) / 2)


# --- the model


def test_vectors_are_those_of_the_runtime(base: Path, tmp_path: Path) -> None:
    convert(base, tmp_path / "model.gguf", "f32")
    model, tokenizer = load_model(base), load_tokenizer(base)
    formatter = Formatter(tokenizer, EmbedFormat())
    trained = AdaptedModel(model, Adapter(), device=CPU)  # adapters begin as nothing
    words = [text for text in some_texts(24) if text.strip()]
    for plain in ("", "Find the passage"):
        tokens = [formatter.embed(Text(text, plain), 512) for text in words]
        with torch.no_grad():
            ours = trained.vectors(tokens).numpy()
        with GritLM(tmp_path / "model.gguf", threads=1) as runtime:
            theirs = runtime.encode(words, instruction=instruction(plain))
        assert (ours * theirs).sum(axis=1).min() > 0.99999


def test_a_gguf_file_is_the_same_base_as_its_folder(
    base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    convert(base, tmp_path / "model.gguf", "f32")
    file = tmp_path / "model.gguf"
    from_file, tokenizer = load_model(file), load_tokenizer(file)
    from_folder, same = load_model(base), load_tokenizer(base)
    assert capfd.readouterr() == ("", "")
    assert tokenizer("Some words.").input_ids == same("Some words.").input_ids
    for name, weights in from_folder.state_dict().items():
        torch.testing.assert_close(from_file.state_dict()[name], weights, rtol=0, atol=0)


def test_causal_embedding_differs_and_is_transformers_own(base: Path) -> None:
    causal = adapted(base, bidirectional=False)
    sample = texts()[:1]
    with torch.no_grad():
        ours = causal.vectors(sample)[0]
        ids = torch.tensor([sample[0].ids])
        hidden = causal.peft.base_model.model.model(ids).last_hidden_state[0, 2:]
        torch.testing.assert_close(ours, functional.normalize(hidden.mean(0), dim=0))
        assert not torch.allclose(ours, adapted(base).vectors(sample)[0], atol=1e-3)


def test_token_losses_are_transformers_own(model: AdaptedModel) -> None:
    samples = [
        GenerateTokens(text.ids, (False, *[place % 3 > 0 for place in range(len(text.ids) - 1)]))
        for text in texts()
    ]
    with torch.no_grad():
        losses = model.token_losses(samples)
        for sample, loss in zip(samples, losses, strict=True):
            labels = [i if learned else -100 for i, learned in zip(*_pair(sample), strict=True)]
            out = model.peft(input_ids=torch.tensor([sample.ids]), labels=torch.tensor([labels]))
            torch.testing.assert_close(loss.mean(), out.loss, rtol=1e-4, atol=1e-5)


def _pair(sample: GenerateTokens) -> tuple[Sequence[int], Sequence[bool]]:
    return sample.ids, sample.loss


def test_documents_attend_to_themselves_in_both_directions_and_the_rest_is_causal() -> None:
    masks = pad([[1, 2, 3, 4, 5], [1, 2, 3]], [(2, 1), ()], CPU).mask[:, 0].int().tolist()
    assert masks[0] == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]
    assert [row[:3] for row in masks[1][:3]] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_groups_are_of_like_length_and_hold_everything_once() -> None:
    lengths = [5, 100, 6, 7, 90, 2000, 5]
    groups = by_length(lengths, 512)
    assert sorted(place for group in groups for place in group) == list(range(7))
    assert all(
        len(group) * max(lengths[place] for place in group) <= 512
        for group in groups
        if len(group) > 1
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_caching_gives_the_plain_gradient(base: Path, checkpointing: bool) -> None:
    sample, teacher = texts(16), unit(16, 6)

    def gradients(most: int) -> dict[str, Tensor]:
        model = adapted(base, gradient_checkpointing=checkpointing)
        calls = []

        def encode(part: Sequence[EmbedTokens]) -> Tensor:
            calls.append(sum(len(text.ids) for text in part))
            return model.vectors(part)

        added = Gradients(list(model.parameters.values()), most, Workers(1))
        loss = added.of_vectors(
            encode, sample, lambda vectors: objectives.distillation(vectors, teacher)
        )
        assert loss > 0
        assert len(calls) == 1 if most > 10_000 else max(calls) <= most
        return {name: p.grad.clone() for name, p in model.parameters.items() if p.grad is not None}

    plain, cached = gradients(100_000), gradients(128)
    assert plain.keys() == cached.keys()
    assert max(gradient.abs().max() for gradient in plain.values()) > 1e-4
    for name, gradient in plain.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", objectives.GENERATIVE)
def test_token_losses_in_parts_give_the_plain_gradient(base: Path, name: str) -> None:
    learned = [(False,) + (True,) * (len(text.ids) - 1) for text in texts()]
    samples = [GenerateTokens(t.ids, loss) for t, loss in zip(texts(), learned, strict=True)]

    def gradients(most: int) -> tuple[float, dict[str, Tensor]]:
        model = adapted(base)
        added = Gradients(list(model.parameters.values()), most, Workers(1))
        reduce = objectives.GENERATIVE[name]
        loss = added.of_tokens(model.token_losses, samples, reduce, 0.5)
        named = model.parameters.items()
        return loss, {name: p.grad.clone() for name, p in named if p.grad is not None}

    (whole, plain), (parts, cut) = gradients(100_000), gradients(128)
    assert parts == pytest.approx(whole, rel=1e-4)
    assert plain.keys() == cut.keys()
    for parameter, gradient in plain.items():
        torch.testing.assert_close(cut[parameter], gradient, rtol=1e-3, atol=1e-6)


def test_bfloat16_gives_about_the_same_losses(
    base: Path, model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gritlite.train.model.computes_bfloat16", lambda _: True)
    half = adapted(base)
    sample = texts(6)
    with torch.no_grad():
        exact, rounded = model.vectors(sample), half.vectors(sample)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert (exact * rounded).sum(dim=1).min() > 0.999


def test_a_base_or_teacher_that_is_none(base: Path, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="does not exist"):
        load_model(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF nonsense")
    with pytest.raises(ArchitectureError, match="transformers cannot load"):
        load_model(tmp_path / "bad.gguf")
    with pytest.raises(FileError, match=r"config\.json"):
        Teacher(tmp_path, CPU)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArchitectureError, match="transformers cannot load"):
        Teacher(tmp_path, CPU)


# --- tokens


def test_only_answers_and_their_end_are_learned(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    formatter = Formatter(tokenizer, EmbedFormat())
    tokens = formatter.chat(ChatRow(("What is it?", "A bee.", "And that?", "A wasp.")), 512)
    assert tokens is not None
    learned = [i for i, is_learned in zip(tokens.ids, tokens.loss, strict=True) if is_learned]
    end = tokenizer.eos_token
    assert tokenizer.decode(learned) == f"A bee.{end}A wasp.{end}"
    assert formatter.chat(ChatRow(("What is it?", "A bee.")), 5) is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_document_row_is_what_the_runtime_reads(base: Path, tmp_path: Path, count: int) -> None:
    convert(base, tmp_path / "model.gguf", "f32")
    formatter = Formatter(AutoTokenizer.from_pretrained(base), EmbedFormat())
    texts = ("A bee has six legs.", "A spider has eight legs.", "A cat has four.")[:count]
    row = DocumentRow(texts, "How many legs?", "six")
    tokens = formatter.document(row, 512)
    assert tokens is not None
    with torch.no_grad():
        (losses,) = AdaptedModel(load_model(base), Adapter(), device=CPU).token_losses([tokens])
    begin = tokens.loss.index(True)
    with GritLM(tmp_path / "model.gguf", threads=1) as runtime:
        answer = runtime.chat(
            [{"role": "user", "content": row.question}],
            document=runtime.join_states([runtime.document_state(text) for text in texts]),
            stream=True,
            max_tokens=1,
            top_logprobs=10_000,  # all of them
        )
        list(answer)
    assert list(tokens.ids[sum(tokens.documents) : begin]) == answer.tokens[: answer.prompt_tokens]
    assert answer.document is not None
    assert sum(tokens.documents) == answer.document.tokens
    assert answer.logprobs is not None
    likely = dict(answer.logprobs[0].likeliest)
    assert -losses[0].item() == pytest.approx(likely[tokens.ids[begin]], abs=5e-3)


def test_a_prompt_with_the_documents_is_what_a_chat_with_them_reads(base: Path) -> None:
    formatter = Formatter(AutoTokenizer.from_pretrained(base), EmbedFormat())
    texts = ("A bee has six legs.", "A cat has four.")
    tokens = formatter.document(DocumentRow(texts, "How many legs?", "six"), 512)
    message = "\n\n".join((*texts, cached_question("How many legs?")))
    chat = formatter.chat(ChatRow((message, "six")), 512)
    assert tokens is not None
    assert tokens.as_prompt() == chat


def test_imitation_is_the_divergence_from_the_models_own_reading(
    base: Path, model: AdaptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    formatter = Formatter(AutoTokenizer.from_pretrained(base), EmbedFormat())
    rows = (
        DocumentRow(("A bee has six legs.", "A cat has four."), "How many legs?", "six of them"),
        DocumentRow(("The town has a bridge.",), "What does it have?", "a bridge"),
    )
    samples = [one for row in rows if (one := formatter.document(row, 512)) is not None]

    def computed(used: AdaptedModel, imitation: float) -> tuple[Tensor, list[Tensor]]:
        losses = torch.cat(used.token_losses(samples, imitation))
        gradients = torch.autograd.grad(losses.sum(), list(used.parameters.values()))
        return losses.detach(), list(gradients)

    entropy, divergence, half = (computed(model, imitation)[0] for imitation in (0, 1, 0.5))
    torch.testing.assert_close(half, (entropy + divergence) / 2)
    assert divergence.min() > -1e-6
    assert divergence.max() > 0.01
    with torch.no_grad():
        exact = [
            functional.kl_div(
                logits_of(model, sample),
                logits_of(model, sample.as_prompt()),
                log_target=True,
                reduction="none",
            ).sum(dim=1)
            for sample in samples
        ]
    torch.testing.assert_close(divergence, torch.cat(exact), rtol=1e-3, atol=1e-5)
    monkeypatch.setattr("gritlite.train.model.is_known", lambda _: False)
    padded = adapted(base)
    for imitation in (0.0, 0.3, 1.0):
        losses, gradients = computed(model, imitation)
        others, theirs = computed(padded, imitation)
        torch.testing.assert_close(losses, others, rtol=1e-4, atol=1e-5)
        for gradient, expected in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)


def logits_of(model: AdaptedModel, sample: GenerateTokens) -> Tensor:
    """Log-probabilities before each learned token, by transformers, with the mask written out."""
    length = len(sample.ids)
    mask = torch.ones(length, length).tril().bool()
    start = 0
    for size in sample.documents:
        document = slice(start, start + size)
        mask[document] = False
        mask[document, document] = True
        start += size
    output = model.peft(
        input_ids=torch.tensor([sample.ids]),
        attention_mask=mask[None, None],
        position_ids=torch.arange(length)[None],
    )
    learned = torch.tensor(sample.loss).nonzero()[:, 0]
    logs: Tensor = output.logits[0, learned - 1].float().log_softmax(dim=1)
    return logs


def test_a_template_that_changes_earlier_turns(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{{ messages | length }}" + GRIT_TEMPLATE
    formatter = Formatter(tokenizer, EmbedFormat())
    with pytest.raises(FormatError, match="changes earlier turns when it renders later ones"):
        formatter.chat(ChatRow(("hello", "yes")), 100)


def test_a_text_that_spells_a_control_token(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    formatter = Formatter(tokenizer, EmbedFormat())
    spelled = f"a {tokenizer.eos_token} b"
    assert tokenizer.eos_token_id not in formatter.embed(Text(spelled), 512).ids
    with pytest.raises(FormatError, match="spells the control token"):
        formatter.chat(ChatRow((spelled, "no")), 512)


# --- runs


def recipe_file(folder: Path, base: Path, steps: int) -> Path:
    """A small recipe with every objective but distillation, and its rows."""
    words = [text for text in some_texts(40) if text.strip()]
    rows = {
        "pairs": [{"query": a, "pos": [b]} for a, b in zip(words[:20], words[20:40], strict=False)],
        "scored": [
            {"query": a, "pos": [b], "score": place / 20}
            for place, (a, b) in enumerate(pairwise(words[:21]))
        ],
        "chats": [{"text": ["Say this", word]} for word in words[:20]],
        "documents": [{"document": w, "query": "What?", "answer": "That"} for w in words[:20]],
    }
    sources = ""
    for (name, content), objective in zip(
        rows.items(), ("contrastive", "ranking", "generative", "cached"), strict=True
    ):
        lines = [json.dumps(row) for row in content]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        sources += (
            f'[[source]]\nfile = "{name}.jsonl"\nobjectives = ["{objective}"]\n'
            "batch = 4\nmax_tokens = 512\n"
        )
    path = folder / "recipe.toml"
    path.write_text(
        f'base = "{base}"\nsteps = {steps}\nseed = 5\n[adapter]\nrank = 4\n'
        f"[schedule]\nwarmup_steps = 2\nlearning_rate = 0.005\n{sources}",
        encoding="utf-8",
    )
    return path


def trained(recipe: Path, steps: int, resumed: Path | None = None) -> Trainer:
    """A trainer after some steps."""
    read = Recipe.read(recipe)
    trainer = Trainer(read, Path(read.base), recipe.parent)
    if resumed is not None:
        trainer.resume(resumed)
    for step in trainer.run():
        if step.step == steps:
            break
    return trainer


def test_a_resumed_run_ends_with_the_same_bits(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 8)
    straight = trained(recipe, 8)
    first = trained(recipe, 3)
    first.save(tmp_path / "checkpoint.pt")
    second = trained(recipe, 8, tmp_path / "checkpoint.pt")
    for name, parameter in straight.model.parameters.items():
        assert torch.equal(parameter, second.model.parameters[name]), name
    assert [step.losses for step in straight.steps] == [step.losses for step in second.steps]


def test_a_loss_is_the_mean_over_the_vectors_sizes(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 1)
    losses = {}
    text = recipe.read_text()
    for sizes in ([], [8], [8, 16]):
        recipe.write_text(f"{text}[embed]\nsizes = {sizes}\n")
        losses[len(sizes)] = trained(recipe, 1).steps[0].losses["contrastive"]
    cut_to_8 = 2 * losses[1] - losses[0]
    cut_to_16 = 3 * losses[2] - losses[0] - cut_to_8
    read = Recipe.read(recipe)
    trainer = Trainer(read, base, recipe.parent)
    source, pairs = next(trainer._batches(embeds=True))
    assert source.objectives == ("contrastive",)
    batch = EmbedBatch(pairs)
    with torch.no_grad():
        vectors = trainer.model.vectors(batch.texts)
    for size, found in ((vectors.shape[1], losses[0]), (8, cut_to_8), (16, cut_to_16)):
        part = functional.normalize(vectors[:, :size], dim=1)
        loss = objectives.contrastive(part[batch.queries], part[batch.passages], batch.own, 0.05)
        assert found == pytest.approx(loss.item(), rel=1e-3)
    recipe.write_text(f"{text}[embed]\nsizes = [4096]\n")
    with pytest.raises(FormatError, match=r"embed\.sizes is \[4096\]: the base's vectors have"):
        trained(recipe, 1)


@pytest.mark.parametrize(
    ("task", "objectives"),
    [("embed", ("contrastive", "ranking")), ("generate", ("generative", "cached"))],
)
def test_a_sources_weight_is_beside_its_tasks(
    base: Path, tmp_path: Path, task: str, objectives: tuple[str, ...]
) -> None:
    recipe = recipe_file(tmp_path, base, 3)
    text = recipe.read_text()
    of_sources = text
    for name in objectives:
        of_sources = of_sources.replace(f'["{name}"]\n', f'["{name}"]\nweight = 0.25\n')

    def parameters(changed: str) -> Tensor:
        recipe.write_text(changed)
        return torch.cat([one.flatten() for one in trained(recipe, 2).model.parameters.values()])

    weighed = parameters(of_sources)
    assert torch.equal(weighed, parameters(f"{text}[{task}]\nweight = 0.25\n"))
    assert not torch.allclose(weighed, parameters(text))


def test_a_checkpoint_of_another_recipe_is_refused(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 8)
    trained(recipe, 1).save(tmp_path / "checkpoint.pt")
    recipe.write_text(recipe.read_text().replace("0.005", "0.004"))
    with pytest.raises(FormatError, match="another recipe or from other data"):
        trained(recipe, 2, tmp_path / "checkpoint.pt")
    (tmp_path / "checkpoint.pt").write_bytes(b"PK nonsense")
    with pytest.raises(FormatError, match="is not a checkpoint"):
        trained(recipe, 2, tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_another_version_is_refused(base: Path, tmp_path: Path) -> None:
    recipe, path = recipe_file(tmp_path, base, 8), tmp_path / "checkpoint.pt"
    trained(recipe, 1).save(path)
    state = torch.load(path, weights_only=True)
    for version in ({}, {"version": 99}):  # the first checkpoints had none
        torch.save({key: state[key] for key in ("run", "steps")} | version, path)
        with pytest.raises(FormatError, match="made by another version of gritlite"):
            trained(recipe, 2, path)


def test_a_run_lowers_every_loss_and_leaves_what_its_docs_say(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 60)
    report = train(recipe, tmp_path / "run")
    assert report.finished
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "adapter",
        "adapter.gguf",
        "checkpoint.pt",
        "vectors",
        "loss.jsonl",
        "loss.png",
        "recipe.toml",
    }
    lines = (tmp_path / "run" / "loss.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    for objective in ("contrastive", "generative", "cached"):
        losses = [step["losses"][objective] for step in steps if objective in step["losses"]]
        third = len(losses) // 3
        assert np.mean(losses[-third:]) < np.mean(losses[:third])
    with pytest.raises(OutputExistsError, match="holds a run already"):
        train(recipe, tmp_path / "run")


@pytest.mark.parametrize("attention", ["bbcc", "cccc"])
def test_the_written_adapter_is_what_was_trained(
    base: Path, tmp_path: Path, attention: str
) -> None:
    recipe = recipe_file(tmp_path, base, 10)
    recipe.write_text(f'attention = "{attention}"\n{recipe.read_text()}')
    train(recipe, tmp_path / "run")
    trainer = trained(recipe, 10)
    convert(base, tmp_path / "merged.gguf", "f32", adapter=tmp_path / "run" / "adapter")
    words = [text for text in some_texts(16) if text.strip()]
    formatter = Formatter(AutoTokenizer.from_pretrained(base), EmbedFormat())
    with torch.no_grad():
        ours = trainer.model.vectors([formatter.embed(Text(word), 512) for word in words]).numpy()
    with GritLM(tmp_path / "merged.gguf", threads=1) as runtime:
        assert (runtime.encode(words) * ours).sum(axis=1).min() > 0.9999


def test_a_stopped_run_resumes(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 6)
    with pytest.raises(UsageError, match="no checkpoint to resume from"):
        train(recipe, tmp_path / "run", resume=True)
    report = train(recipe, tmp_path / "run", stopping=iter([False, True]).__next__)
    assert (report.steps, report.finished) == (2, False)
    assert train(recipe, tmp_path / "run", resume=True).finished


def test_the_rate_warms_up_and_decays(base: Path, tmp_path: Path) -> None:
    schedule = Recipe.read(recipe_file(tmp_path, base, 10)).schedule
    rates = [learning_rate(step, 100, schedule) for step in range(100)]
    assert rates[0] == pytest.approx(0.0025)
    assert rates[1] == pytest.approx(0.005)
    assert max(rates) == pytest.approx(0.005)
    assert rates[-1] == pytest.approx(0.0005, rel=0.01)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_rows_that_do_not_suit_their_objective(base: Path, tmp_path: Path) -> None:
    recipe = recipe_file(tmp_path, base, 4)
    for old, new, told in (
        ('["contrastive"]', '["generative"]', "do not suit"),
        ('["contrastive"]', '["ranking"]', 'needs a "score"'),
        ("max_tokens = 512", "max_tokens = 2", "no token is left"),
    ):
        changed = tmp_path / "changed.toml"
        changed.write_text(recipe.read_text().replace(old, new))
        with pytest.raises(FormatError, match=told):
            trained(changed, 1)


def test_the_same_adapter_is_the_same_bytes(tmp_path: Path) -> None:
    """The safetensors library orders the metadata anew at each call."""
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(1, dtype=torch.float16)}
    metadata = {"grit.embed.trained": "true", "format": "pt", "about": "a é"}
    files = {with_sorted_metadata(tensors, metadata) for _ in range(16)}
    assert len(files) == 1
    data = files.pop()
    assert all(torch.equal(value, tensors[name]) for name, value in from_safetensors(data).items())
    (tmp_path / "one.safetensors").write_bytes(data)
    with safe_open(tmp_path / "one.safetensors", "pt") as opened:
        assert opened.metadata() == metadata
        assert set(opened.keys()) == set(tensors)
