"""The teacher of a distillation: a BERT-like sentence encoder in a local folder.

Vectors are mean-pooled over all tokens and normalized, as the MiniLM, MPNet and E5
families require. Texts are truncated to `MAX_TOKENS`, as in sentence-transformers.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gritlite.convert.pretrained import loading
from gritlite.errors import FileError

MAX_TOKENS = 256
PASS_CHARACTERS = 12_000  # of the texts that are computed together, padding included


class Teacher:
    """A frozen sentence encoder, whose products are in the precision `dtype`.

    Raises FileError or ArchitectureError if it cannot be loaded.
    """

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        check_folder(folder)
        with loading(folder):
            self._tokenizer = AutoTokenizer.from_pretrained(folder)
            self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        self._device = device
        self._dtype = dtype
        self._tokenizing = threading.Lock()  # a tokenizer of transformers is for one thread

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Return vectors of unit length, float32 [n, d]."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        is_half = self._dtype is torch.bfloat16
        # one context for all passes: it converts each weight once
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=is_half):
            parts = [self._pooled(group) for group in passes([texts[place] for place in order])]
        return torch.cat(parts)[torch.tensor(order, device=self._device).argsort()]

    def _pooled(self, texts: list[str]) -> Tensor:
        with self._tokenizing:
            batch = self._tokenizer(
                texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            ).to(self._device)
        hidden = self._model(**batch).last_hidden_state.float()
        content = batch["attention_mask"][:, :, None].to(hidden.dtype)
        return functional.normalize((hidden * content).sum(dim=1) / content.sum(dim=1), dim=1)


def passes(texts: Sequence[str]) -> list[list[str]]:
    """Divide texts, which are sorted by length, into those that are computed together.

    A pass takes a few seconds on a slow processor.
    """
    groups: list[list[str]] = []
    for text in texts:
        if not groups or (len(groups[-1]) + 1) * len(text) > PASS_CHARACTERS:
            groups.append([])
        groups[-1].append(text)
    return groups


def check_folder(folder: Path) -> None:
    """Raise FileError for a folder that holds no model."""
    if not (folder / "config.json").is_file():
        raise FileError(f"{folder} holds no config.json: name a sentence encoder's folder")


def unit_vectors(stored: Sequence[NDArray[np.int8]], device: torch.device) -> Tensor:
    """Convert packed vectors to unit length, float32 [n, d]."""
    return functional.normalize(torch.tensor(np.stack(stored)).to(device, torch.float32), dim=1)
