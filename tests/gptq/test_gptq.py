"""GPTQ folders from passes in both modes: solved so, read by others, the same numbers as Q4_0."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gritlm
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from gritlite import GritLM, instruction
from gritlite.calibrate.texts import Pass
from gritlite.convert import convert
from gritlite.convert.pretrained import load_model
from gritlite.modelfile.header import read_header
from tests import reference
from tests.tiny import PARTS, make_checkpoint
from tests.tiny_tokenizers import SENTENCES

pytestmark = [
    pytest.mark.torch,
    # of optimum's, GPTQModel's and the official package's own making
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

WORDS = " ".join(SENTENCES)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2, whose rows gritlite does not rearrange, in bfloat16."""
    folder = tmp_path_factory.mktemp("gptq") / "checkpoint"
    return make_checkpoint(folder, "qwen2", hidden=128, feed_forward=256, dtype="BF16")


@pytest.fixture(scope="module")
def solved(checkpoint: Path) -> Path:
    """What `gritlite convert --format gptq` makes of it."""
    return solve(checkpoint, checkpoint.with_name("of-folder"))


def solve(source: Path, folder: Path, bits: int = 4, group: int = 32) -> Path:
    """Run the command in a folder of its own, in which nothing else is to be left."""
    folder.mkdir()
    texts, output = folder / "texts.txt", folder / "solved"
    texts.write_text("\n\n".join([WORDS] * 8), "utf-8")
    options = ["--format", "gptq", "-o", str(output), "--texts", str(texts)]
    if (bits, group) != (4, 32):
        options += ["--bits", str(bits), "--group-size", str(group)]
    said = run_python(["-m", "gritlite", "convert", str(source), *options], folder)
    assert said.startswith(f"{output}: {bits} bits in groups of {group}, from ")
    assert said.count("\n") == 1  # nothing of what GPTQModel says
    assert {path.name for path in folder.iterdir()} == {"texts.txt", "solved", "log"}
    return output


@pytest.fixture(scope="module")
def floats(solved: Path) -> Path:
    """The same as GGUF: kept as Q4_0, and that read back into f32."""
    kept, floats = solved.with_name("kept.gguf"), solved.with_name("floats.gguf")
    assert convert(solved, kept, None).requantized == 0
    types = {tensor.name: tensor.type.name for tensor in read_header(kept).tensors}
    assert {type for name, type in types.items() if "ffn" in name and "norm" not in name} == {
        "Q4_0"
    }
    assert types["token_embd.weight"] == "BF16"  # as it came
    convert(kept, floats, "f32")
    return floats


def test_gguf_holds_what_gptqmodel_dequantizes(solved: Path, floats: Path) -> None:
    """Each weight, by GPTQModel's own kernel, in a process that it may do with as it likes."""
    script = (
        "import sys, numpy as np, torch\n"
        "from gptqmodel import BACKEND, GPTQModel\n"
        "from gptqmodel.nn_modules.qlinear import BaseQuantLinear\n"
        "options = dict(device='cpu', backend=BACKEND.GPTQ_TORCH, dtype=torch.float16)\n"
        "model = GPTQModel.load(sys.argv[1], **options)\n"
        "found = {}\n"
        "for name, module in model.model.named_modules():\n"
        "    if isinstance(module, BaseQuantLinear):\n"
        "        module.scales = module.scales.float()  # so that products are not rounded\n"
        "        found[name] = module.dequantize_weight().T.float().numpy()\n"
        "np.savez(sys.argv[2], **found)\n"
    )
    dequantized = solved.with_name("dequantized.npz")
    run_python(["-c", script, str(solved), str(dequantized)], solved.parent)
    ours = reference.tensors(floats)
    theirs = np.load(dequantized)
    assert len(theirs.files) == 2 * len(PARTS)
    for name in theirs.files:
        _, _, layer, part = name.split(".", 3)
        assert np.array_equal(ours[f"blk.{layer}.{PARTS[part]}.weight"], theirs[name]), name


def test_a_gguf_file_gives_the_same(checkpoint: Path, solved: Path) -> None:
    convert(checkpoint, checkpoint.with_name("bf16.gguf"), "bf16")
    again = solve(checkpoint.with_name("bf16.gguf"), checkpoint.with_name("of-file"))
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (again, solved))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_transformers_runs_it(solved: Path, floats: Path) -> None:
    """It generates, and gives the logits that llama.cpp gives for the converted file.

    GPTQModel's kernel for the processor computes in bfloat16.
    """
    model = AutoModelForCausalLM.from_pretrained(solved, dtype=torch.float32, device_map="cpu")
    with reference.loaded(floats) as file:
        ids = reference.tokenize(file, WORDS)[:48]
        expected = reference.logits(file, ids)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
        answer = model.generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)
    cosines = (logits * expected).sum(-1) / (
        np.linalg.norm(logits, axis=-1) * np.linalg.norm(expected, axis=-1)
    )
    assert cosines.min() > 0.9995
    assert answer.shape == (1, len(ids) + 8)


def test_other_bits_and_groups(checkpoint: Path) -> None:
    """Eight bits in groups of 64 answer nearly as the weights that they were solved from."""
    folder = solve(checkpoint, checkpoint.with_name("of-eight-bits"), bits=8, group=64)
    convert(folder, folder.with_name("f32.gguf"), "f32")
    convert(checkpoint, folder.with_name("whole.gguf"), "f32")
    found = []
    for name in ("f32.gguf", "whole.gguf"):
        with reference.loaded(folder.with_name(name)) as file:
            found.append(reference.logits(file, reference.tokenize(file, WORDS)[:48]))
    ours, whole = found
    cosines = (ours * whole).sum(-1) / (
        np.linalg.norm(ours, axis=-1) * np.linalg.norm(whole, axis=-1)
    )
    assert 0.999 < cosines.min() < 1 - 1e-9
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")
    answer = model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=8, do_sample=False)
    assert answer.shape == (1, 11)


def test_the_official_package_embeds_with_it(solved: Path, floats: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        official = gritlm.GritLM(
            str(solved), device_map="cpu", torch_dtype=torch.float32, mode="unified"
        )
    prompt = instruction("")
    theirs = official.encode(list(SENTENCES), instruction=prompt, max_length=512)
    with GritLM(floats, threads=1) as model:
        ours = model.encode(list(SENTENCES), instruction=prompt)
    assert ((ours * theirs).sum(-1) > 0.9999).all()


def test_hessians_are_sums_over_both_modes(checkpoint: Path, tmp_path: Path) -> None:
    """Over packed sequences, as over each sequence by itself in transformers."""
    random = np.random.default_rng(0)
    passes = [
        Pass(tuple(tuple(random.integers(3, 400, n).tolist()) for n in lengths), causal)
        for lengths, causal in (((40, 60, 12), False), ((110,), True), ((9, 90), True))
    ]
    job = {
        "model": str(checkpoint),
        "floats": "float32",
        "passes": [asdict(each) for each in passes],
        "output": str(tmp_path / "solved"),
        "bits": 4,
        "group_size": 32,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    script = Path(__file__).with_name("hessians.py")
    run_python([str(script), "sums.npz", "job.json"], tmp_path)
    found = np.load(tmp_path / "sums.npz")
    convert(tmp_path / "solved", tmp_path / "kept.gguf", None)
    convert(tmp_path / "kept.gguf", tmp_path / "floats.gguf", "f32")
    model = load_model(checkpoint)
    # each matrix is solved for behind those before it, as they are by then
    solved = reference.tensors(tmp_path / "floats.gguf")
    for part, name in PARTS.items():
        weights = torch.from_numpy(solved[f"blk.0.{name}.weight"].copy())
        model.get_submodule(f"model.layers.0.{part}").weight.copy_(weights)
    for name, products in products_of(model, passes).items():
        np.testing.assert_allclose(found[name], products, rtol=1e-3, atol=1e-4 * products.max())


def products_of(model: Any, passes: Sequence[Pass]) -> dict[str, np.ndarray]:
    """The products X^T X of inputs in the first layer, sequence by sequence."""
    names = [f"model.layers.0.{part}" for part in ("self_attn.o_proj", "mlp.down_proj")]
    sums: dict[str, np.ndarray] = {}

    def keep(name: str, inputs: torch.Tensor) -> None:
        rows = inputs[0].double().numpy()
        sums[name] = sums.get(name, 0) + rows.T @ rows

    for name in names:
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, arguments, name=name: keep(name, arguments[0])
        )
    for each in passes:
        for sequence in each.sequences:
            n = len(sequence)
            mask = torch.ones(1, 1, n, n, dtype=torch.bool)
            with torch.no_grad():
                model(torch.tensor([sequence]), attention_mask=mask.tril() if each.causal else mask)
    return sums


def run_python(arguments: Sequence[str], folder: Path) -> str:
    """What Python says when it is run in `folder`, as long as this process lives."""
    settings = {"PYTHONPATH": str(Path(__file__).parents[2]), "GPTQMODEL_CPU_WORKERS": "2"}
    with (
        (folder / "log").open("w+b") as log,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, **settings},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        ) as child,
    ):
        status = child.wait()
    said = (folder / "log").read_text("utf-8")
    assert status == 0, said[-2000:]
    return said
