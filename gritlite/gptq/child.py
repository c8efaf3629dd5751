"""Run GPTQModel in a process of its own: `python -m gritlite.gptq.child JOB`.

GPTQModel starts thread pools, patches torch and transformers, and writes logs to the
working directory; none of that belongs in the caller's process. JOB is a JSON file:

    {"model", "floats", "passes", "output", "bits", "group_size"}

`model` is a Hugging Face folder or a GGUF file, `floats` is torch's name of the type
for tensors that are not quantized, and `passes` are the calibration passes, each with
"causal" and "sequences" of token ids. After each layer, a line "DONE TOTAL" is written
to standard output.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gritlite.calibrate.texts import Pass
from gritlite.convert.pretrained import load_model, load_tokenizer
from gritlite.gptq.batches import model_inputs
from gritlite.system.processes import end_with_parent

# the scale of each group minimizes the error to this power; 2.4 is the GPTQ authors' choice
_ERROR_NORM = 2.4
_MIN_TOKEN_SHARE = 0.005  # a matrix that sees fewer tokens (a rare expert) is only rounded


def main() -> None:
    """Run the job named on the command line."""
    end_with_parent()
    with os.fdopen(os.dup(1), "w", buffering=1) as reports:
        os.dup2(2, 1)  # GPTQModel writes its log there, the first line as it is imported
        if (os.cpu_count() or 1) <= 2:  # it would give itself one worker there, and miss a second
            os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
        from gptqmodel import GPTQModel, QuantizeConfig
        from gptqmodel.quantization.config import Fallback

        job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
        batches = [
            model_inputs(Pass(tuple(map(tuple, each["sequences"])), each["causal"]))
            for each in job["passes"]
        ]
        tokens = sum(batch["input_ids"].numel() for batch in batches)
        config = QuantizeConfig(
            bits=job["bits"],
            group_size=job["group_size"],
            sym=True,
            desc_act=False,
            mse=_ERROR_NORM,
            # the default threshold counts tokens by the mask, which is wrong for [n, n] masks
            fallback=Fallback(threshold=_MIN_TOKEN_SHARE * tokens),
        )
        model = GPTQModel.load(
            str(_folder(Path(job["model"]))),
            config,
            device="cuda" if torch.cuda.is_available() else "cpu",
            dtype=torch.float32,
        )
        layers = model.model.config.num_hidden_layers

        def report(layer_idx: int, submodule_finalized: bool) -> None:
            if submodule_finalized:
                print(layer_idx + 1, layers, file=reports)

        model.layer_callback = report
        # the original would pad the passes and replace their masks by two-dimensional ones
        model.prepare_dataset = lambda *_args, **_options: batches
        model.quantize(batches, batch_size=1)
        model.save(job["output"])
        _store_floats(Path(job["output"]), job["floats"])


def _folder(model: Path) -> Path:
    """Return a Hugging Face folder of the model; for a GGUF file, write one."""
    if model.is_dir():
        return model
    folder = Path("model")
    loaded = load_model(model)
    # transformers treats every GGUF file as quantized, and would not save it
    loaded.hf_quantizer = None
    del loaded.config.quantization_config
    loaded.save_pretrained(folder)
    load_tokenizer(model).save_pretrained(folder)
    return folder


def _store_floats(folder: Path, floats: str) -> None:
    """Convert tensors that were not quantized from float32 back to the type `floats`."""
    config = folder / "config.json"
    for file in folder.glob("*.safetensors"):
        tensors = {
            name: tensor.to(getattr(torch, floats)) if tensor.dtype == torch.float32 else tensor
            for name, tensor in load_file(file).items()
        }
        save_file(tensors, file, {"format": "pt"})
        shutil.copymode(config, file)  # save_file makes it unreadable for other users
    settings = json.loads(config.read_text("utf-8"))
    settings["dtype"] = floats
    config.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
