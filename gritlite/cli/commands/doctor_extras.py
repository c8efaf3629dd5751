"""The optional packages of gritlite's extras, and which of them are installed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

# the optional dependencies of pyproject.toml, of which a frozen app has no other copy
EXTRAS: Mapping[str, Sequence[str]] = {
    "chromadb": ("chromadb>=1",),
    "eval": ("mteb>=2.26", "scikit-learn>=1.4", "scipy>=1.11"),
    "gptq": ("gptqmodel>=7.6", "optimum>=2", "torch>=2.8", "transformers>=5"),
    "hub": ("huggingface_hub>=1.0",),
    "langchain": ("langchain-core>=1",),
    "llama-index": ("llama-index-core>=0.14",),
    "onnx": ("onnx>=1.18", "onnxruntime>=1.30"),
    "onnx-gpu": ("onnx>=1.18", "onnxruntime-gpu>=1.30"),
    "openvino": ("openvino>=2026.1",),
    "parquet": ("pyarrow>=15",),
    "rag": (
        "chardet>=7.7",
        "filelock>=3.15",
        "lxml>=5",
        "markdown-it-py>=3",
        "pypdfium2>=4.30",
        "python-docx>=1.1.2",
        "selectolax>=1.0",
        "semantic-text-splitter>=0.20",
        "usearch>=2.16",
        "xxhash>=3.4",
    ),
    "serve": ("fastapi>=0.165", "uvicorn>=0.54"),
    "torch": ("torch>=2",),
    "train": ("matplotlib>=3.8", "peft>=0.19", "safetensors>=0.4", "torch>=2.4", "transformers>=5"),
    "web": ("lxml_html_clean>=0.4", "trafilatura>=2"),
}


@dataclass(frozen=True)
class OptionalPackage:
    """A package, its installed version (None: it is missing), and the least one that will do."""

    name: str
    installed: str | None
    needed: str

    @property
    def suits(self) -> bool:
        """Whether it is installed and new enough."""
        return self.installed is not None and _release(self.installed) >= _release(self.needed)


def optional_packages() -> dict[str, tuple[OptionalPackage, ...]]:
    """The packages of each extra."""
    return {
        extra: tuple(_look_up(*requirement.split(">=")) for requirement in requirements)
        for extra, requirements in EXTRAS.items()
    }


def installed_version(package: str) -> str | None:
    """The version of an installed package; None if it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _look_up(name: str, needed: str) -> OptionalPackage:
    return OptionalPackage(name, installed_version(name), needed)


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version's release, as in 2.14.0 of 2.14.0rc1+cpu."""
    match = re.match(r"\d+(\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and not numbers[-1]:  # 2.0 is 2
        numbers.pop()
    return tuple(numbers)


def describe(extra: str, packages: Sequence[OptionalPackage]) -> str:
    """Versions of the packages, those that are missing or too old, and what to run for them."""
    there = [f"{each.name} {each.installed}" for each in packages if each.suits]
    too_old = [
        f"{each.name} {each.installed} is older than {each.needed}"
        for each in packages
        if each.installed and not each.suits
    ]
    missing = [each.name for each in packages if each.installed is None]
    parts = [", ".join(there), *too_old, f"missing: {', '.join(missing)}" if missing else ""]
    if missing or too_old:
        parts.append(f'run  pip install "gritlite[{extra}]"')
    return "; ".join(filter(None, parts))
