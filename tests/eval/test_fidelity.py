"""Fidelity: the measures worked out by hand, and small models beside their quantized selves."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gritlite.calibrate.measures import (
    cosines,
    divergence,
    log_softmax,
    neighbour_agreement,
)
from gritlite.calibrate.sample import read_sample
from gritlite.convert import convert
from gritlite.errors import InputError, OutputExistsError, UsageError
from gritlite.eval.fidelity.comparison import compare
from gritlite.eval.fidelity.html_report import write_html
from gritlite.eval.fidelity.results import MEASURES, Comparison, requirements, write_json
from gritlite.modelfile.description import describe
from gritlite.runtime.model import GritLM
from gritlite.runtime.sample_texts import COMPARISON_TEXTS, DEFAULT_TEXTS
from gritlite.runtime.scorer import Scorer
from tests.sample_gguf import SPM, write_model
from tests.tiny import make_checkpoint

RANDOM = np.random.default_rng(0)


# --- measures


def test_cosines_of_rows() -> None:
    one = np.array([[1, 0], [3, 4]], np.float32)
    other = np.array([[1, 1], [-3, -4]], np.float32)
    assert np.allclose(cosines(one, other), [math.sqrt(0.5), -1])


def test_neighbours_that_two_have_in_common() -> None:
    one = RANDOM.standard_normal((40, 8)).astype(np.float32)
    other = one + RANDOM.standard_normal((40, 8)).astype(np.float32)
    shared = 0
    for i in range(40):
        nearest = [
            {j for _, j in sorted((-float(v[i] @ v[j]), j) for j in range(40) if j != i)[:10]}
            for v in (one, other)
        ]
        shared += len(nearest[0] & nearest[1])
    assert neighbour_agreement(one, other) == pytest.approx(shared / 400)
    assert neighbour_agreement(one, one) == 1
    assert neighbour_agreement(one[:4], -one[:4]) == 1  # each has the other three
    assert neighbour_agreement(one[:1], other[:1]) == 1


def test_divergence_is_the_sum_of_its_definition() -> None:
    logits = RANDOM.standard_normal((2, 3, 50)).astype(np.float32) * 5
    p, q = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in logits)
    expected = (p * np.log(p / q)).sum(axis=1)
    found = divergence(log_softmax(logits[0]), log_softmax(logits[1]))
    assert np.allclose(found, expected, rtol=1e-4)
    assert np.allclose(np.exp(log_softmax(logits[0])), p, rtol=1e-5)


# --- comparisons


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    checkpoint = make_checkpoint(folder / "checkpoint", hidden=256, feed_forward=512)
    made = {}
    for type in ("f32", "q8_0", "q4_k_m", "q2_k"):
        made[type] = folder / f"{type}.gguf"
        convert(checkpoint, made[type], type)
    return made


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    words = ["the", "hello", "vector", "river", "of", "a", "stone", "model", "light", "it"]
    lines = (" ".join(RANDOM.choice(words, RANDOM.integers(3, 12))) for _ in range(150))
    path.write_text("\n\n".join(lines))
    return path


@pytest.fixture(scope="module")
def comparison(files: dict[str, Path], text: Path) -> Comparison:
    return compare(
        files["f32"],
        [files["f32"], files["q8_0"], files["q4_k_m"], files["q2_k"]],
        [text],
        load=lambda path: GritLM(path, threads=1),
        chunks=2,
    )


def test_a_file_is_like_itself(comparison: Comparison) -> None:
    same = comparison.candidates[0]
    for name in ("cosine", "cosine_p1", "cosine_min", "neighbours", "top1"):
        assert same.values[name] == pytest.approx(1, abs=1e-6)
    for name in ("kl", "kl_p99"):
        assert same.values[name] == pytest.approx(0, abs=1e-6)
    assert max(map(abs, same.embed_layers + same.generate_layers)) < 1e-6
    assert same.values["perplexity"] == pytest.approx(comparison.reference.values["perplexity"])
    assert (same.embed_verdict, same.generate_verdict) == ("near lossless", "near lossless")


def test_every_figure_is_that_of_its_definition(
    comparison: Comparison, files: dict[str, Path], text: Path
) -> None:
    """Worked out again from vectors and logits, for the file that loses most."""
    found = comparison.candidates[-1].values
    texts = text.read_text().split("\n\n")
    vectors, logits = [], []
    for name in ("f32", "q2_k"):
        with GritLM(files[name], threads=1) as model:
            chunks = read_sample(model, [text], limit=2).chunks
            vectors.append(model.encode(texts).astype(np.float64))
            halves = [Scorer(model).logits(chunk, len(chunk) // 2 + 1) for chunk in chunks]
            logits.append(np.concatenate(halves).astype(np.float64))
            facts = describe(model.file)
    cosine = np.sort((vectors[0] * vectors[1]).sum(axis=1))
    assert found["cosine"] == pytest.approx(cosine.mean(), abs=1e-6)
    assert found["cosine_min"] == pytest.approx(cosine[0], abs=1e-6)
    assert cosine[0] < found["cosine_p1"] < cosine[3]  # of 150
    assert found["neighbours"] == neighbour_agreement(*(v.astype(np.float32) for v in vectors))
    assert found["neighbours"] < 1
    p, q = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in logits)
    kl = np.sort((p * np.log(p / q)).sum(axis=1))
    assert found["kl"] == pytest.approx(kl.mean(), rel=1e-3)
    assert kl[-8] < found["kl_p99"] < kl[-4]  # of 510
    assert found["top1"] == pytest.approx((p.argmax(axis=1) == q.argmax(axis=1)).mean())
    targets = [token for chunk in chunks for token in chunk[len(chunk) // 2 + 1 :]]
    surprise = -np.log(q[np.arange(len(targets)), targets])
    assert found["perplexity"] == pytest.approx(np.exp(surprise.mean()), rel=1e-4)
    assert found["bytes"] == files["q2_k"].stat().st_size
    assert found["embed_memory"] == facts.memory_embed.total
    assert found["generate_memory"] == facts.memory_generate[min(facts.memory_generate)].total


def test_fewer_bits_lose_more(comparison: Comparison) -> None:
    assert comparison.documents == 150
    _, *quantized = comparison.candidates
    for name, falls in (("cosine", True), ("cosine_min", True), ("kl", False), ("bits", True)):
        values = [row.values[name] for row in quantized]
        assert values == sorted(values, reverse=falls), name
    for row in quantized:
        assert len(row.embed_layers) == len(row.generate_layers) == 3  # of two layers
        assert row.embed_layers[0] < row.embed_layers[-1]
        assert row.values["embed_speed"] > 0


def test_perplexity_and_likeliest_tokens(
    comparison: Comparison, files: dict[str, Path], text: Path
) -> None:
    """As the scores of the same chunks give them."""
    with GritLM(files["f32"], threads=1) as model, GritLM(files["q2_k"], threads=1) as small:
        bos = [] if model.bos is None else [model.bos]
        tokens = bos + model.tokenize(text.read_text())
        losses, same = [], []
        for number in range(2):
            chunk = bos + tokens[number * 512 + len(bos) : (number + 1) * 512]
            losses.append(-Scorer(small).score(chunk, 257))
            same.append(
                Scorer(small).logits(chunk, 257).argmax(1)
                == Scorer(model).logits(chunk, 257).argmax(1)
            )
    row = comparison.candidates[-1]
    assert row.values["perplexity"] == pytest.approx(np.exp(np.mean(losses)), rel=1e-5)
    assert row.values["top1"] == np.mean(same)
    assert comparison.tokens == 2 * 255


def test_other_models_are_refused(files: dict[str, Path], text: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.gguf", SPM)
    with pytest.raises(UsageError, match=r"other\.gguf has another vocabulary"):
        compare(files["f32"], [other], [text], chunks=1)
    convert(make_checkpoint(tmp_path / "narrow"), tmp_path / "narrow.gguf", "f32")
    with pytest.raises(UsageError, match="vectors of 64 numbers, the reference of 256"):
        compare(files["f32"], [tmp_path / "narrow.gguf"], [text], chunks=1)


def test_a_model_of_other_layers_is_refused(
    files: dict[str, Path], text: Path, tmp_path: Path
) -> None:
    deeper = make_checkpoint(tmp_path / "c", hidden=256, feed_forward=512, layers=3)
    convert(deeper, tmp_path / "deeper.gguf", "f32")
    with pytest.raises(UsageError, match=r"deeper\.gguf has 3 layers, the reference 2"):
        compare(files["q2_k"], [tmp_path / "deeper.gguf"], [text], chunks=1)


def test_chats_alone_cannot_be_compared_on(files: dict[str, Path], tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hello you " * 400}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match="nothing to embed, only chats"):
        compare(files["q8_0"], [files["q8_0"]], [tmp_path / "a.jsonl"])


def test_a_text_of_less_than_a_chunk(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("hello")
    with pytest.raises(InputError, match="fewer than 512 tokens"):
        compare(files["f32"], [files["q8_0"]], [tmp_path / "short.txt"])


def test_our_texts_to_compare_on_are_others_than_those_to_calibrate_with() -> None:
    known = set("\n".join(path.read_text("utf-8") for path in DEFAULT_TEXTS).split("\n"))
    lines = "\n".join(path.read_text("utf-8") for path in COMPARISON_TEXTS).split("\n")
    assert not known & {line for line in lines if len(line) > 20}


# --- reports


def test_requirements(comparison: Comparison) -> None:
    q8_0, q2_k = comparison.candidates[1], comparison.candidates[-1]
    cosine, kl = requirements("cosine=0.999, kl=0.01")
    assert cosine.broken_by(q8_0) is None
    assert kl.broken_by(q8_0) is None
    assert "q2_k.gguf: cosine is 0." in str(cosine.broken_by(q2_k))
    assert "but at most 0.01 is required" in str(kl.broken_by(q2_k))


@pytest.mark.parametrize(
    ("text", "said"),
    [("kl", "has no number"), ("beauty=1", "of 'beauty': name one of"), ("bytes=3", "of 'bytes'")],
)
def test_requirements_that_are_none(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        requirements(text)


def test_json_has_everything(comparison: Comparison, tmp_path: Path) -> None:
    write_json(comparison, tmp_path / "report.json", force=False)
    found = json.loads((tmp_path / "report.json").read_text())
    assert [each["file"] for each in found["candidates"]] == [
        row.file for row in comparison.candidates
    ]
    assert found["candidates"][2]["values"] == comparison.candidates[2].values
    assert found["candidates"][-1]["verdict"]["embed"] == comparison.candidates[-1].embed_verdict
    with pytest.raises(OutputExistsError):
        write_json(comparison, tmp_path / "report.json", force=False)


class Tags(HTMLParser):
    """Counts tags, and holds that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        assert not any(name in ("src", "href") for name, _ in attrs)  # type: ignore[attr-defined]
        if tag not in ("meta", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1


def test_the_page_is_whole_and_needs_nothing_else(comparison: Comparison, tmp_path: Path) -> None:
    write_html(comparison, tmp_path / "page.html", force=False)
    tags = Tags()
    tags.feed((tmp_path / "page.html").read_text("utf-8"))
    assert not tags.open
    assert tags.counts["svg"] == 4
    assert tags.counts["circle"] == 2 * 4
    assert tags.counts["polyline"] == 2 * 4
    tasks = len(comparison.reference.scores)
    assert tags.counts["tr"] == (1 + 4) + (1 + len(MEASURES) + tasks)
    assert "script" not in tags.counts


def test_the_page_begins_with_the_verdicts(comparison: Comparison, tmp_path: Path) -> None:
    write_html(comparison, tmp_path / "page.html", force=False)
    page = (tmp_path / "page.html").read_text("utf-8")
    before, box = page.split('<div class="box">')
    for row in comparison.candidates:
        cells = (row.file, row.embed_verdict, row.generate_verdict)
        assert "".join(f"<td>{cell}</td>" for cell in cells) in before
    assert box.count("<th>") == 1 + len(comparison.rows)
