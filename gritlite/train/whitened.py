"""The losses against the teachers' whitened vectors, and what they keep from step to step.

That is the map that whitens, found once before the first step, and a queue of the last texts'
vectors, which `listwise` compares a batch with as well. The module does not know how the map is
found, or where vectors come from.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gritlite.train import objectives
from gritlite.train.recipe import WHITENED_OBJECTIVES, Embed


class Whitened:
    """The objectives of WHITENED_OBJECTIVES, with a recipe's settings."""

    def __init__(self, embed: Embed) -> None:
        self._temperature, self._length = embed.temperature, embed.queue
        self.map: Tensor | None = None  # [e, d]: whitens teachers' vectors, and cuts or turns them
        self._queue: tuple[Tensor, Tensor] | None = None  # ours and the teachers', the oldest first

    def state(self) -> dict[str, Any]:
        """What the next step takes from those before, for a checkpoint."""
        return {"map": self.map, "queue": self._queue}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.map, self._queue = state["map"], state["queue"]

    def losses(
        self, names: Sequence[str], vectors: Tensor, teacher: Tensor | None
    ) -> dict[str, Tensor]:
        """The losses of a batch in training for those of the objectives `names` that are whitened.

        `vectors` [n, d] and `teacher` [n, e] are of unit length, and the map is found. The batch
        joins the queue of `listwise`.
        """
        if not set(WHITENED_OBJECTIVES) & set(names):
            return {}
        assert teacher is not None
        assert self.map is not None
        targets = functional.normalize(teacher @ self.map.to(teacher.device), dim=1)
        losses = {}
        if "alignment" in names:
            losses["alignment"] = objectives.alignment(vectors, targets)
        if "listwise" in names:
            ours, theirs = self._queue or (vectors[:0].detach(), targets[:0])
            earlier = ours.to(vectors.device), theirs.to(targets.device)
            losses["listwise"] = objectives.listwise(vectors, targets, self._temperature, earlier)
            self._queue = self._last(earlier[0], vectors.detach()), self._last(earlier[1], targets)
        return losses

    def _last(self, earlier: Tensor, batch: Tensor) -> Tensor:
        every = torch.cat([earlier, batch])
        return every[max(0, len(every) - self._length) :]
