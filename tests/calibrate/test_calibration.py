"""Calibration: sums, their mixture, texts, and runs that are resumed."""

import json
from pathlib import Path

import numpy as np
import pytest

from gritlite.calibrate.activation_sums import ActivationSums, mix_modes, to_activations
from gritlite.calibrate.calibration import Calibration, Calibrator
from gritlite.calibrate.texts import embed_passes, generate_passes, read_texts
from gritlite.convert import convert
from gritlite.errors import FormatError, InputError, UsageError
from gritlite.quant.imatrix import read_imatrix, write_imatrix
from gritlite.runtime.llama import MatrixInput
from gritlite.runtime.model import GritLM
from gritlite.runtime.sample_texts import DEFAULT_TEXTS
from tests.sample_gguf import CONTEXT, write_model

PASS = CONTEXT  # tokens: the tiny model was trained for no more


def matrix_input(
    name: str, rows: list[list[float]], count: int = 1, matrices: object = 0
) -> MatrixInput:
    row_matrices = np.broadcast_to(np.array(matrices, np.int32), len(rows))
    return MatrixInput(name, np.array(rows, np.float32), count, row_matrices)


@pytest.fixture
def model(tmp_path: Path):
    with GritLM(write_model(tmp_path / "tiny.gguf"), threads=1) as loaded:
        yield loaded


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_text("\n\n".join(f"hello number {i}, and a word more" for i in range(120)))
    return path


def finished(calibrator: Calibrator) -> Calibration:
    for _ in calibrator.run():
        pass
    return calibrator.result()


# --- sums


def test_squares_are_summed_by_column() -> None:
    sums = ActivationSums()
    sums.add(matrix_input("a", [[1, 2], [3, -4]]))
    sums.add(matrix_input("a", [[0, 1]]))
    found = to_activations(sums)["a"]
    assert found.sums.tolist() == [[10, 21]]
    assert found.counts.tolist() == [3]


def test_experts_are_counted_one_by_one() -> None:
    sums = ActivationSums()
    sums.add(matrix_input("a", [[1, 2], [3, 4], [5, 6]], 4, [2, 0, 2]))
    found = to_activations(sums)["a"]
    assert found.sums.tolist() == [[9, 16], [0, 0], [26, 40], [0, 0]]
    assert found.counts.tolist() == [1, 0, 2, 0]


def test_token_counts_do_not_affect_the_mixed_means() -> None:
    embed, generate = ActivationSums(), ActivationSums()
    embed.add(matrix_input("a", [[1, 0]]))
    generate.add(matrix_input("a", [[2, 1], [2, 1], [2, 1]]))
    found = mix_modes(embed, generate, 0.25)["a"]
    assert found.counts.tolist() == [4]
    assert found.importance.tolist() == [[0.25 * 1 + 0.75 * 4, 0.75 * 1]]


def test_an_expert_of_one_mode_keeps_its_mean() -> None:
    embed, generate = ActivationSums(), ActivationSums()
    embed.add(matrix_input("a", [[1, 2], [3, 4]], 3, [0, 1]))
    generate.add(matrix_input("a", [[5, 6]], 3, [1]))
    importance = mix_modes(embed, generate, 0.5)["a"].importance
    assert importance.tolist() == [[1, 4], [17, 26], [1, 1]]


# --- texts


def test_a_text_file_gives_paragraphs_and_a_stream(model: GritLM, text: Path) -> None:
    texts = read_texts([text])
    assert len(texts.documents) == 120
    embed, generate = embed_passes(model, texts), generate_passes(model, texts)
    assert sorted(s for p in embed for s in p.sequences) == sorted(
        tuple(model.embed_tokens(paragraph)[0]) for _, paragraph in texts.documents
    )
    assert all(each.tokens <= PASS and not each.causal for each in embed)
    stream = model.tokenize(text.read_text())
    assert len(generate) == (len(stream) + (model.bos is not None)) // PASS
    assert all(each.tokens == PASS and each.causal for each in generate)


def test_json_rows_go_to_their_modes(model: GritLM, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hello you"}]
    rows = [{"text": "a text", "instruction": "find it"}, {"messages": messages}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    texts = read_texts([tmp_path / "rows.jsonl"])
    ((sequence,),) = (each.sequences for each in embed_passes(model, texts))
    prompt = model.format.with_instruction("find it")
    assert list(sequence) == model.embed_tokens("a text", instruction=prompt)[0]
    ((chat,),) = (each.sequences for each in generate_passes(model, texts))
    assert list(chat) == model.chat_tokens(messages)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ('{"txt": "a"}', 'expected "text"'),
        ('{"text": " "}', "a text is empty or not a string"),
        ('{"text": 3}', "a text is empty or not a string"),
        ('{"messages": {}}', "is not a list"),
        ('{"messages": [{"role": "me", "content": ""}]}', "has the role 'me'"),
    ],
)
def test_a_bad_row_is_named(row: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n' + row)
    with pytest.raises(FormatError, match=rf"rows\.jsonl, line 2: .*{message}"):
        read_texts([tmp_path / "rows.jsonl"])


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_file_without_text(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\n \n")
    with pytest.raises(FormatError, match="has no text to calibrate on"):
        read_texts([tmp_path / name])


def test_a_text_shorter_than_one_pass(model: GritLM, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello you")
    for weight, message in (
        (0, "fewer than 128 tokens"),
        (1, "tokens to embed, less than one pass"),
    ):
        with pytest.raises(InputError, match=message):
            Calibrator(model, [tmp_path / "a.txt"], embed_weight=weight)


def test_chats_alone_embed_nothing(model: GritLM, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "hello you " * 200}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match="there is nothing to embed, only chats"):
        Calibrator(model, [tmp_path / "a.jsonl"])
    assert Calibrator(model, [tmp_path / "a.jsonl"], embed_weight=0).tokens > 100


def test_the_default_texts_are_small_and_serve_both_modes(model: GritLM) -> None:
    assert sum(path.stat().st_size for path in DEFAULT_TEXTS) < 200_000
    texts = read_texts(DEFAULT_TEXTS)
    assert any(instruction for instruction, _ in texts.documents)
    assert any(not instruction for instruction, _ in texts.documents)
    assert texts.streams
    assert texts.chats


# --- runs


def test_every_matrix_gets_an_entry(model: GritLM, text: Path, tmp_path: Path) -> None:
    done = finished(Calibrator(model, [text]))
    matrices = {t.name: t for t in model.file.tensors if len(t.shape) == 2 and "blk." in t.name}
    assert done.imatrix.tensors.keys() == matrices.keys()
    total = done.embed_tokens + done.generate_tokens
    for name, found in done.imatrix.tensors.items():
        assert found.sums.shape == (1, matrices[name].shape[1])
        assert found.counts.tolist() == [total]
    write_imatrix(done.imatrix, tmp_path / "matrix.gguf")
    convert(model.path, tmp_path / "small.gguf", "q4_0", imatrix=tmp_path / "matrix.gguf")
    assert read_imatrix(tmp_path / "matrix.gguf").datasets == ("words.txt",)


def test_the_weight_is_between_the_modes(model: GritLM, text: Path) -> None:
    name = "blk.1.ffn_down.weight"
    generate, half, embed = (
        finished(Calibrator(model, [text], embed_weight=weight)).imatrix.tensors[name].importance
        for weight in (0, 0.5, 1)
    )
    assert np.allclose(half, (generate + embed) / 2, rtol=1e-5)
    assert not np.allclose(generate, embed, rtol=1e-2)
    with pytest.raises(UsageError, match=r"embedding is 1\.5"):
        Calibrator(model, [text], embed_weight=1.5)


@pytest.mark.parametrize("passes", [1, 4, 11])
def test_a_resumed_run_gives_the_same_bits(
    passes: int, model: GritLM, text: Path, tmp_path: Path
) -> None:
    whole = finished(Calibrator(model, [text]))
    stopped = Calibrator(model, [text])
    for number, _ in enumerate(stopped.run(), 1):
        if number == passes:
            break
    stopped.save(tmp_path / "checkpoint")
    resumed = Calibrator(model, [text])
    resumed.resume(tmp_path / "checkpoint")
    result = finished(resumed)
    assert (result.embed_tokens, result.generate_tokens) == (
        whole.embed_tokens,
        whole.generate_tokens,
    )
    for name, found in whole.imatrix.tensors.items():
        assert np.array_equal(found.sums, result.imatrix.tensors[name].sums)


def test_a_checkpoint_of_another_calibration(model: GritLM, text: Path, tmp_path: Path) -> None:
    Calibrator(model, [text]).save(tmp_path / "checkpoint")
    with pytest.raises(FormatError, match="another model, texts or options"):
        Calibrator(model, [text], embed_weight=0.4).resume(tmp_path / "checkpoint")
    (tmp_path / "checkpoint").write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match="is not a calibration checkpoint"):
        Calibrator(model, [text]).resume(tmp_path / "checkpoint")
