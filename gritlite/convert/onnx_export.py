"""Write the layers of a GGUF file as a folder for ONNX Runtime and optimum.

    model.onnx       the graph: token ids in, hidden states out (see `onnx_inputs`)
    model.onnx_data  its weights
    config.json      the model's dimensions, in transformers' words

and the tokenizer of a checkpoint, if the file was made from one. The graph's metadata has the
`grit.*` keys, which say how the hidden states become a vector. No model runs here: what
smoothing needs to know of the inputs of matrices is an argument.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gritlite.convert.onnx_inputs import SCALES, TABLE, take_token_ids
from gritlite.graph.layers import write_layers
from gritlite.graph.network import Network, read_network
from gritlite.graph.onnx_writer import Form, OnnxWriter
from gritlite.graph.rounding import BLOCK_BITS, PAIR_LIMIT, stored_blocks
from gritlite.graph.smoothing import SmoothedTensors
from gritlite.graph.tensors import Floats, Tensors, open_tensors
from gritlite.modelfile.header import GGUFFile
from gritlite.modelfile.hyperparameters import read_hyperparameters
from gritlite.prompt import EmbedFormat, sliding_window
from gritlite.quant.types import block_size
from gritlite.system.files import atomic_folder, check_output_folder
from gritlite.system.progress import ProgressCallback, no_progress

Precision = Literal["fast", "exact", "float32"]

GRAPH, WEIGHTS, CONFIG = "model.onnx", "model.onnx_data", "config.json"
PRECISION_KEY = "gritlite.precision"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_FORMS: Mapping[Precision, Form] = {"fast": "int8", "exact": "blocks", "float32": "float32"}
_EMBEDDINGS = "token_embd.weight"


@dataclass(frozen=True)
class ONNXReport:
    """What was written: the folder, the bytes of graph and weights, and the tokenizer's files."""

    output: Path
    bytes: int
    tokenizer_files: tuple[str, ...]


def export_onnx(
    file: GGUFFile,
    output: Path,
    precision: Precision,
    *,
    maxima: Mapping[str, Floats] | None = None,
    checkpoint: Path | None = None,
    force: bool = False,
    on_progress: ProgressCallback = no_progress,
) -> ONNXReport:
    """Write the model `file` as the folder `output`.

    "exact" computes with the numbers of the file, "fast" with int8 matrices and inputs, and
    "float32" with floats only. For "fast", `maxima` are the largest inputs of each matrix (see
    `smoothing_factors`). `checkpoint` is the folder whose tokenizer and config.json are copied.
    An existing `output` is replaced only with `force`. `on_progress` receives the layers done
    and in all.

    Raises ArchitectureError for layers that no graph is written for, OutputExistsError and
    FileError. Importing the module raises MissingExtraError without the package onnx.
    """
    check_output_folder(output, force=force)
    with open_tensors(file) as tensors, atomic_folder(output, force=force) as folder:
        network = _within_window(read_network(tensors), file)
        source = SmoothedTensors(tensors, network, maxima) if maxima else tensors
        with (folder / WEIGHTS).open("wb") as weights:
            writer = OnnxWriter(
                network,
                _FORMS[precision],
                weights,
                WEIGHTS,
                pair_limit=PAIR_LIMIT,  # the folder is for any processor
            )
            for done in write_layers(network, source, writer):
                on_progress(done, network.layers)
            _write_embeddings(writer, tensors, precision)
        _write_graph(writer, folder / GRAPH, file, network, precision)
        _write_config(folder / CONFIG, file, network, checkpoint)
        copied = _copy_tokenizer(checkpoint, folder)
        size = sum((folder / name).stat().st_size for name in (GRAPH, WEIGHTS))
    return ONNXReport(output, size, copied)


def _within_window(network: Network, file: GGUFFile) -> Network:
    """Return the network with no more positions than attention's window has, if it has one."""
    window = sliding_window(file.metadata) or network.rotary.positions
    rotary = replace(network.rotary, positions=min(network.rotary.positions, window))
    return replace(network, rotary=rotary)


def _write_embeddings(writer: OnnxWriter, tensors: Tensors, precision: Precision) -> None:
    """Write the token embeddings in the smallest form that holds the file's numbers.

    Those of the other quantized types, which no form but float32 holds, become float16.
    """
    type = tensors.type(_EMBEDDINGS)
    if type in BLOCK_BITS:
        blocks = stored_blocks(tensors.stored(_EMBEDDINGS), type)
        writer.constant(blocks.values, TABLE)
        writer.constant(blocks.scales, SCALES)
        return
    floats = tensors.floats(_EMBEDDINGS)
    is_rounded = block_size(type) > 1 and precision != "float32"
    halves = floats.astype(np.float16)
    fits = is_rounded or np.array_equal(halves.astype(np.float32), floats)
    writer.constant(halves if fits else floats, TABLE)


def _write_graph(
    writer: OnnxWriter, path: Path, file: GGUFFile, network: Network, precision: Precision
) -> None:
    format = EmbedFormat.from_metadata(file.metadata)
    writer.save(path, format.attention)
    described = {**format.to_metadata(), PRECISION_KEY: precision}
    texts = {
        key: json.dumps(value) if isinstance(value, bool) else value
        for key, value in described.items()
    }
    take_token_ids(path, network.width, texts, format.projection)


def _write_config(path: Path, file: GGUFFile, network: Network, checkpoint: Path | None) -> None:
    if checkpoint is not None:
        config = json.loads((checkpoint / CONFIG).read_bytes())
        config.pop("quantization_config", None)  # the weights here are another form of them
    else:
        config = _config(file, network)
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _config(file: GGUFFile, network: Network) -> dict[str, Any]:
    """Return what config.json says of a file's layers, but for the scaling of rotations."""
    sizes = read_hyperparameters(file)
    architecture = sizes.architecture
    config = {
        "model_type": "mixtral" if network.experts else architecture,
        "hidden_size": network.width,
        "intermediate_size": network.feed_forward,
        "num_hidden_layers": network.layers,
        "num_attention_heads": network.heads,
        "num_key_value_heads": network.kv_heads,
        "head_dim": network.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": network.epsilon,
        "rope_theta": file.metadata.get(f"{architecture}.rope.freq_base", 10_000.0),
        "max_position_embeddings": network.rotary.positions,
        "vocab_size": sizes.vocabulary,
    }
    if network.experts:
        config["num_local_experts"] = network.experts
        config["num_experts_per_tok"] = network.experts_used
    return config


def _copy_tokenizer(checkpoint: Path | None, folder: Path) -> tuple[str, ...]:
    """Copy the files of a tokenizer, and return their names."""
    if checkpoint is None:
        return ()
    found = tuple(name for name in TOKENIZER_FILES if (checkpoint / name).is_file())
    for name in found:
        shutil.copyfile(checkpoint / name, folder / name)
    return found
