"""Folders of ONNX graphs, run by plain ONNX Runtime as a stranger to gritlite would."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from gguf.constants import GGMLQuantizationType
from tokenizers import Tokenizer

from gritlite import FileError, GritLM
from gritlite.convert import convert
from gritlite.convert.gguf_copy import as_gguf
from gritlite.convert.onnx_export import export_onnx
from gritlite.errors import OutputExistsError
from gritlite.modelfile.header import read_header
from gritlite.quant.rows import dequantize_rows
from gritlite.runtime.llama.engine import LlamaEngine
from tests.tiny import make_checkpoint

CASES = ("mistral", "mixtral", "llama-tied", "llama-biases", "llama-yarn", "qwen2")
ROWS = [np.random.default_rng(n).integers(3, 400, n).astype(np.int32) for n in (23, 1, 40)]
# the least cosine of a token's hidden state to llama.cpp's
LEAST = {"float32": 0.99999, "exact": 0.998, "fast": 0.97}


def run(folder, ids, mask):
    """The hidden states of ids."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    inputs = {"input_ids": np.asarray(ids, np.int64), "attention_mask": np.asarray(mask, np.int64)}
    (hidden,) = session.run(["last_hidden_state"], inputs)
    return hidden


def padded(rows, *, left):
    """Ids and mask of rows, padded on one side; padding has an id too."""
    length = max(map(len, rows)) + 3
    ids, mask = np.full((len(rows), length), 7), np.zeros((len(rows), length), int)
    for i, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(len(row))
        ids[i, place], mask[i, place] = row, 1
    return ids, mask


def llama_states(file, attention="bidirectional"):
    """llama.cpp's hidden states of ROWS, one below the other."""
    engine = LlamaEngine(file, threads=1, gpu_layers=0)
    opened = engine.open_pass(512, attention)
    hidden, _ = opened.run(ROWS, [0] * len(ROWS))
    opened.close()
    engine.close()
    return hidden


def least_cosine(ours, theirs):
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return ((ours * theirs).sum(axis=1) / lengths).min()


@pytest.fixture(scope="module")
def folder(tiny_file, tmp_path_factory):
    """An export of `tiny_file("mistral")` in float32."""
    output = tmp_path_factory.mktemp("export") / "onnx"
    file = tiny_file("mistral")
    export_onnx(read_header(file), output, "float32", checkpoint=file.parent / "checkpoint")
    return output


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("precision", LEAST)
def test_hidden_states_are_those_of_llama_cpp(tiny_file, tmp_path, case, precision):
    file = tiny_file(case)
    if precision != "float32":
        convert(file, tmp_path / "quantized.gguf", "q8_0")
        file = tmp_path / "quantized.gguf"
    export_onnx(read_header(file), tmp_path / "onnx", precision)
    onnx.checker.check_model(tmp_path / "onnx" / "model.onnx")
    expected = llama_states(file)
    for left in (False, True):
        ids, mask = padded(ROWS, left=left)
        hidden = run(tmp_path / "onnx", ids, mask)
        assert least_cosine(hidden[mask == 1], expected) >= LEAST[precision]
        assert (hidden[mask == 0] == 0).all()
    # causal attention is far from it
    assert least_cosine(llama_states(file, "causal"), expected) < 0.9


def test_padding_changes_nothing(folder):
    alone = run(folder, ROWS[0][None], np.ones((1, len(ROWS[0]))))
    for left in (False, True):
        ids, mask = padded(ROWS[:2], left=left)
        hidden = run(folder, ids, mask)
        np.testing.assert_allclose(hidden[0, mask[0] == 1], alone[0], atol=2e-6)


def test_ten_lines_of_python_make_the_vectors_of_gritlite(tiny_file, folder):
    texts = ["hello", "The cat sat on the mat, and the mat did not mind.", "déjà vu 東京"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompt = len(tokenizer.encode("<|embed|>\n").ids)
    vectors = []
    for text in texts:
        ids = tokenizer.encode("<|embed|>\n" + text).ids
        hidden = run(folder, [ids], [[1] * len(ids)])[0, prompt:].mean(axis=0)
        vectors.append(hidden / np.linalg.norm(hidden))
    with GritLM(tiny_file("mistral"), threads=1) as model:
        expected = model.encode(texts)
    assert least_cosine(np.array(vectors), expected) > 0.9999
    assert (expected @ expected.T).min() < 0.9


def test_the_files_of_a_folder(folder):
    assert {path.name for path in folder.iterdir()} == {
        *("model.onnx", "model.onnx_data", "config.json"),
        *("tokenizer.json", "tokenizer_config.json", "tokenizer.model"),
    }
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    described = session.get_modelmeta().custom_metadata_map
    assert described["grit.embed.prompt"] == "<|embed|>\n"
    assert described["grit.embed.attention"] == "bidirectional"
    assert described["grit.embed.normalize"] == "true"
    assert described["gritlite.precision"] == "float32"
    shapes = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    ids = ("tensor(int64)", ["batch", "tokens"])
    assert shapes == {"input_ids": ids, "attention_mask": ids}
    (output,) = session.get_outputs()
    assert (output.name, output.shape) == ("last_hidden_state", ["batch", "tokens", 64])


@pytest.mark.parametrize("target", ["q8_0", "q4_0", "f16", "f32"])
def test_embeddings_keep_their_numbers(tiny_file, tmp_path, target):
    convert(tiny_file("llama-tied"), tmp_path / "model.gguf", target)
    header = read_header(tmp_path / "model.gguf")
    export_onnx(header, tmp_path / "onnx", "exact")
    graph = onnx.load(tmp_path / "onnx" / "model.onnx").graph
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    table = stored["token_embeddings"].astype(np.float32)
    if "token_embedding_scales" in stored:
        table *= stored["token_embedding_scales"].astype(np.float32)[:, :, None]
    (info,) = (each for each in header.tensors if each.name == "token_embd.weight")
    start, count = info.offset, info.size
    raw = np.frombuffer((tmp_path / "model.gguf").read_bytes()[start : start + count], np.uint8)
    expected = dequantize_rows(raw.reshape(info.shape[0], -1), GGMLQuantizationType(info.type))
    np.testing.assert_array_equal(table.reshape(expected.shape), expected)


def test_config_of_a_gguf_file_alone(tiny_file, tmp_path):
    file = tiny_file("mixtral")
    export_onnx(read_header(file), tmp_path / "onnx", "exact")
    config = json.loads((tmp_path / "onnx" / "config.json").read_text())
    original = json.loads((file.parent / "checkpoint" / "config.json").read_text())
    for key in ("model_type", "hidden_size", "num_hidden_layers", "num_key_value_heads"):
        assert config[key] == original[key]
    assert config["num_local_experts"] == original["num_local_experts"]
    assert not list((tmp_path / "onnx").glob("tokenizer*"))


def test_a_window_is_the_end_of_texts(tmp_path):
    make_checkpoint(tmp_path / "checkpoint", "mistral", sliding_window=16)
    with as_gguf(tmp_path / "checkpoint", tmp_path / "onnx") as file:
        export_onnx(read_header(file), tmp_path / "onnx", "float32")
    assert run(tmp_path / "onnx", [range(20, 36)], np.ones((1, 16))).shape == (1, 16, 64)
    with pytest.raises(Exception, match="cos_cache"):  # ONNX Runtime's own exception
        run(tmp_path / "onnx", [range(20, 37)], np.ones((1, 17)))


@pytest.mark.parametrize(("dtype", "size"), [("F32", 4), ("F16", 2), ("BF16", 2)])
def test_a_checkpoint_keeps_its_numbers_on_the_way(tmp_path, dtype, size):
    make_checkpoint(tmp_path / "checkpoint", "mistral", dtype=dtype)
    with as_gguf(tmp_path / "checkpoint", tmp_path / "onnx") as file:
        header = read_header(file)
    assert not file.parent.exists()
    (info,) = (each for each in header.tensors if each.name == "blk.0.attn_q.weight")
    assert info.size == 64 * 64 * size


def test_an_output_that_exists_is_kept(tiny_file, folder):
    header = read_header(tiny_file("mistral"))
    before = (folder / "model.onnx").read_bytes()
    with pytest.raises(OutputExistsError):
        export_onnx(header, folder, "exact")
    with pytest.raises(FileError, match="does not exist"):
        export_onnx(header, folder / "no" / "such", "exact")
    assert (folder / "model.onnx").read_bytes() == before


def test_an_interrupted_export_leaves_the_old_folder(tiny_file, tmp_path):
    header = read_header(tiny_file("mistral"))
    output = tmp_path / "onnx"
    export_onnx(header, output, "float32")
    before = (output / "model.onnx").read_bytes()

    def stop(done, total):
        assert (done, total) == (1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_onnx(header, output, "exact", force=True, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["onnx"]
    assert (output / "model.onnx").read_bytes() == before
    export_onnx(header, output, "fast", force=True)
    assert (output / "model.onnx").read_bytes() != before
