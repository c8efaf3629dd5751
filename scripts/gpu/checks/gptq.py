"""GPTQ with calibration on the GPU: solved, converted, and loaded again by others."""

import time
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.comparing import gpu_layers, least_cosine, loaded
from checks.parts import Task
from gritlite.convert import convert
from gritlite.gptq.conversion import convert_to_gptq
from gritlite.runtime.scorer import Scorer
from tests.tiny import make_checkpoint
from tests.tiny_tokenizers import SENTENCES

_CLOSE = 0.999
_WORDS = " ".join(SENTENCES)


def run(task: Task) -> None:
    """Solve a tiny checkpoint, and hold transformers' logits against llama.cpp's."""
    if find_spec("gptqmodel") is None:
        task.results.leave_out("GPTQ", "gptqmodel is not installed here")
        return
    source = make_checkpoint(
        task.folder / "checkpoint", "qwen2", hidden=256, feed_forward=512, dtype="BF16"
    )
    texts, solved = task.folder / "texts.txt", task.folder / "solved"
    texts.write_text("\n\n".join([_WORDS] * 8), "utf-8")
    started = time.monotonic()
    report = convert_to_gptq(source, solved, [texts])
    seconds = time.monotonic() - started
    file = task.folder / "solved.gguf"
    kept = convert(solved, file, None)
    with loaded(task, file, gpu_layers(task)) as model:
        ids = model.tokenize(_WORDS)[:48]
        expected = Scorer(model).logits([*ids, ids[0]], 1)
    least = least_cosine(_by_transformers(task, solved, ids), expected)
    task.results.check(
        "solved, and loaded again",
        least >= _CLOSE and not report.only_rounded and kept.requantized == 0,
        least_cosine=least,
        tokens=report.embed_tokens + report.generate_tokens,
        seconds=round(seconds, 1),
    )


def _by_transformers(task: Task, folder: object, ids: list[int]) -> NDArray[np.float32]:
    """Logits float32 [n, vocabulary] of the folder as transformers loads it."""
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if task.results.device == "gpu" else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, device_map=device)
    with torch.no_grad():
        logits: Any = model(torch.tensor([ids], device=device)).logits[0]
    values: NDArray[np.float32] = logits.float().cpu().numpy()
    return values
