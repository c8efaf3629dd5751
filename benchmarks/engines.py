"""The tables of docs/speed.md's section "Engines", one after another.

    python benchmarks/engines.py FOLDER --prepare [--under COMMAND]
    python benchmarks/engines.py FOLDER --texts xquad.en.json [--under COMMAND]
        [--part small --part large --part start]

With --prepare the files are made in FOLDER and the graphs in the cache, which takes a while and
is not measured. The parts: the default model; two layers of Mistral-7B's shapes; starts and
memory of both. With --under, small and large run again under a command that hides a part of the
processor. Where torch and gritlm are installed, the official package takes part.
"""

import argparse
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from gritlite.convert import convert
from gritlite.system import cache
from gritlite.system.locate import locate

HERE = Path(__file__).parent
GRAPHS = [f"--engine={name}" for name in ("llama", "onnx", "openvino")]
ROUNDS = ["--rounds", "4"]


def main() -> None:
    """Prepare, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--texts", type=Path, help="SQuAD JSON, such as XQuAD's")
    parser.add_argument("--part", action="append", choices=["small", "large", "start"])
    parser.add_argument("--under", help="a command such as noamx, to run the others again under")
    parser.add_argument("--limit", type=int, default=24, help="texts for the default model")
    options = parser.parse_args()
    begun = time.perf_counter()
    folder = options.folder
    if options.prepare:
        prepare(folder, [options.under] if options.under else None)
        return
    if options.texts is None:
        parser.error("--texts is missing")
    texts = ["--texts", str(options.texts)]
    parts = options.part or ["small", "large", "start"]
    unders = [[], [options.under]] if options.under else [[]]
    for under in unders:
        if "small" in parts:
            show("embed.py", *small(folder), *texts, "--limit", str(options.limit), under=under)
        if "large" in parts:
            show("embed.py", *large(folder), *texts, "--limit", "6", under=under)
    if "start" in parts:
        for model in (str(locate("default")), str(folder / "shapes.q8_0.gguf")):
            show("engine_start.py", model, *GRAPHS, *ROUNDS)
    print(f"\nin all: {time.perf_counter() - begun:.0f} s")


def small(folder: Path) -> list[str]:
    """Arguments for the default model in q8_0, and its other types in llama.cpp."""
    others = [f"--llama={folder / f'default.{type}.gguf'}" for type in ("bf16", "q4_0")]
    found = [str(locate("default")), f"--reference={folder / 'default.f32.gguf'}", *others]
    if has_torch():
        found.append(f"--checkpoint={folder / 'checkpoint'}")
    return [*found, *choices(), *ROUNDS]


def large(folder: Path) -> list[str]:
    """Arguments for the shapes of a large model; random weights have no vectors to compare."""
    others = [f"--llama={folder / f'shapes.{type}.gguf'}" for type in ("q4_k_m", "q4_0")]
    found = [str(folder / "shapes.q8_0.gguf"), "--tokens=250", *others]
    return [*found, *choices(), *ROUNDS]


def choices() -> list[str]:
    """All engines, in all precisions."""
    return [*GRAPHS, "--precision=exact", "--precision=fast"]


def has_torch() -> bool:
    """Whether the official package can run."""
    return find_spec("torch") is not None and find_spec("gritlm") is not None


def show(script: str, *arguments: str, under: list[str] | None = None) -> None:
    """Run a benchmark in a process of its own, and print its table."""
    line = [*(under or []), sys.executable, str(HERE / script), *arguments]
    environment = dict(os.environ)
    if under:
        print(f"\nUnder {under[0]}:")
        # OpenVINO's compiled graphs are for the processor as it looked
        environment[cache.VARIABLE] = str(cache.root() / "under")
    print(flush=True)
    subprocess.run(line, check=True, env=environment)


def prepare(folder: Path, under: list[str] | None) -> None:
    """Make the files that are not there, and each engine's graphs."""
    folder.mkdir(parents=True, exist_ok=True)
    default = locate("default")
    for type in ("f32", "bf16", "q4_0"):
        file = folder / f"default.{type}.gguf"
        if not file.exists():
            convert(default, file, type, requantize=True)
    if has_torch() and not (folder / "checkpoint").exists():
        write_checkpoint(folder / "default.f32.gguf", folder / "checkpoint")
    show("shapes.py", str(folder))
    for model in (default, folder / "shapes.q8_0.gguf"):
        show("engine_start.py", str(model), *GRAPHS, "--rounds", "1")
        if under:
            show("engine_start.py", str(model), *GRAPHS, "--rounds", "1", under=under)


def write_checkpoint(file: Path, folder: Path) -> None:
    """Write the folder that transformers makes of a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    loaded = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    model = AutoModelForCausalLM.from_config(loaded.config, dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


if __name__ == "__main__":
    main()
