"""The training loop: per step a batch to embed, a batch to generate, and one update.

Source of the joint objective: arXiv 2402.09906, equation 3. The two backward
passes run one after the other, so only one graph is in memory at a time.
"""

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gritlite.convert.adapter import PROJECTION, WEIGHTS, read_projection
from gritlite.convert.pretrained import load_model
from gritlite.errors import FormatError
from gritlite.train import alignment, checkpoint, objectives, projection
from gritlite.train.base import read_form
from gritlite.train.batches import sample_batches
from gritlite.train.embed_batch import EmbedBatch
from gritlite.train.examples import Taught, TokenizedPair
from gritlite.train.gradcache import Gradients
from gritlite.train.loss_log import Step
from gritlite.train.model import AdaptedModel, best_device
from gritlite.train.recipe import (
    EMBED_OBJECTIVES,
    WHITENED_OBJECTIVES,
    Recipe,
    Schedule,
    Source,
)
from gritlite.train.sources import read_sources
from gritlite.train.start import begin_from
from gritlite.train.teacher import unit_vectors
from gritlite.train.teachers import Teachers
from gritlite.train.tokens import EmbedTokens, GenerateTokens
from gritlite.train.whitened import Whitened

_AT_ONCE = 16  # texts of one pass, when vectors are aligned or projected
FINAL_RATE = 0.1  # of the highest learning rate, at the end of the decay


class Trainer:
    """Trains a recipe, from the first step or from a checkpoint.

    `folder` is what the recipe's paths are relative to, `vectors` the folder of the
    teachers' vectors, by default in `folder`; where it is given, it keeps the rows' tokens too.
    Raises what reading the base, the teachers' folders and the sources raises.
    """

    def __init__(
        self, recipe: Recipe, base: Path, folder: Path, vectors: Path | None = None
    ) -> None:
        torch.manual_seed(recipe.seed)  # the adapters' random beginning
        device = best_device()
        model = load_model(base)
        self.recipe = recipe
        self.projection = read_form(base).projection if recipe.embeds else None
        self.examples = read_sources(recipe, base, folder, vectors)
        self._check_ids(model.config.vocab_size)
        self._width = model.config.hidden_size
        self._check_sizes()
        files = [folder / source.file for source in recipe.source]
        self._teachers = (
            Teachers(recipe.embed.teacher, folder, vectors or folder / "vectors", device)
            if recipe.embed.teacher
            else None
        )
        self.model = AdaptedModel(
            model,
            recipe.adapter,
            device=device,
            bidirectional=recipe.attention == "bbcc",
            gradient_checkpointing=recipe.memory.gradient_checkpointing,
        )
        if recipe.adapter.start:
            start = folder / recipe.adapter.start
            begin_from(start, self.model.parameters, recipe.adapter)
            files += [start / name for name in (WEIGHTS, PROJECTION) if (start / name).exists()]
            begun = read_projection(start / PROJECTION, self._width)
            self.projection = self.projection if begun is None else begun
        if self.projection is not None:
            self.model.projection = torch.from_numpy(self.projection).to(device)
        self._run = checkpoint.fingerprint(recipe, files)
        schedule = recipe.schedule
        self._optimizer = torch.optim.AdamW(
            self.model.parameters.values(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        self.steps: list[Step] = []
        self._whitened = Whitened(recipe.embed)

    @property
    def graph_tokens(self) -> int:
        """How many tokens' graph is held at once."""
        return self.recipe.memory.graph_tokens or self.model.graph_tokens

    @property
    def _gradients(self) -> Gradients:
        parameters = list(self.model.parameters.values())
        return Gradients(parameters, self.graph_tokens, self.model.workers)

    def teach(self) -> Iterator[tuple[int, int]]:
        """Make the teachers' vectors that are missing; yield how many are made, and of how many.

        Raises what `Teachers.prepare` raises.
        """
        if self._teachers:
            yield from self._teachers.prepare(self._taught_texts())

    def align(self) -> Iterator[tuple[int, int]]:
        """Find how teachers' vectors are whitened, and where they lie among the model's.

        That is done once, before the first step. Yields how many texts are embedded for it, and of
        how many; none if nothing is aligned.
        """
        if self._whitened.map is not None:
            return
        texts = self._first_texts(alignment.TEXTS, WHITENED_OBJECTIVES)
        if not texts:
            return
        theirs = self._taught(list(texts.values())).cpu().numpy()
        whitening = self.recipe.embed.teacher_whitening
        if any("alignment" in source.objectives for source in self.recipe.source):
            ours: list[NDArray[np.float32]] = []
            yield from self._embed_into(ours, list(texts))
            found = alignment.aligning(theirs, np.concatenate(ours), whitening)
        else:
            found = alignment.reducing(theirs, self._width, whitening)
        self._whitened.map = torch.from_numpy(found)

    def _taught_texts(self) -> list[str]:
        """The texts that teachers are to make vectors of; packed ones have theirs."""
        return [
            taught
            for source, rows in islice(self._batches(embeds=True), self.recipe.steps)
            if source.taught
            for row in rows
            for taught in row.taught
            if isinstance(taught, str)
        ]

    def resume(self, path: Path) -> None:
        """Resume from a checkpoint. Raises FormatError if it belongs to another run."""
        self.steps = checkpoint.load(
            path, self.model.parameters, self._optimizer, self._whitened, self._run
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        checkpoint.save(
            path, self.model.parameters, self._optimizer, self.steps, self._whitened, self._run
        )

    def run(self) -> Iterator[Step]:
        """Train to the recipe's last step, yielding the result of each step.

        What `teach` and `align` have not made is made first.
        """
        for _ in chain(self.teach(), self.align()):
            pass
        done = len(self.steps)
        embedding = self._batches(embeds=True, after=done)
        generating = self._batches(embeds=False, after=done)
        for number in range(done, self.recipe.steps):
            embed, generate = next(embedding, None), next(generating, None)
            self.steps.append(self._step(number, embed, generate))
            yield self.steps[-1]

    def find_projection(self) -> Iterator[tuple[int, int]]:
        """Find what `projection` becomes at the end of the run: what it was, times what is found.

        Yields how many texts are embedded for it, and of how many. They are the first of the rows
        that the run comes to.
        """
        texts = list(self._first_texts(projection.TEXTS, EMBED_OBJECTIVES))
        parts: list[NDArray[np.float32]] = []
        yield from self._embed_into(parts, texts)
        whitening = self.recipe.embed.whitening
        found = projection.find_projection(np.concatenate(parts), whitening).astype(np.float32)
        self.projection = found if self.projection is None else self.projection @ found

    def _first_texts(self, count: int, names: Sequence[str]) -> dict[EmbedTokens, Taught]:
        """The first texts that the run comes to, of sources with an objective of these names."""
        found: dict[EmbedTokens, Taught] = {}
        if not any(set(names) & set(source.objectives) for source in self.recipe.source):
            return found
        for source, rows in islice(self._batches(embeds=True), self.recipe.steps):
            if set(names) & set(source.objectives):
                for row in rows:
                    found |= zip(row.texts, row.taught, strict=True)
            if len(found) >= count:
                break
        return dict(islice(found.items(), count))

    def _embed_into(
        self, parts: list[NDArray[np.float32]], texts: Sequence[EmbedTokens]
    ) -> Iterator[tuple[int, int]]:
        """Append the texts' vectors; yield how many texts are embedded, and of how many."""
        for start in range(0, len(texts), _AT_ONCE):
            with torch.no_grad():
                parts.append(self.model.vectors(texts[start : start + _AT_ONCE]).cpu().numpy())
            yield min(start + _AT_ONCE, len(texts)), len(texts)

    def _batches(self, *, embeds: bool, after: int = 0) -> Iterator[tuple[Source, Sequence[Any]]]:
        """Yield endless batches of one task's sources; none if it has no sources.

        The first `after` are passed over.
        """
        examples = [one for one in self.examples if one.source.embeds == embeds]
        if not examples:
            return
        chosen = sample_batches(
            [one.rows.lengths for one in examples],
            [one.source.batch for one in examples],
            [one.source.share for one in examples],
            self.recipe.seed,
        )
        for pick in islice(chosen, after, None):
            picked = examples[pick.source]
            yield picked.source, [picked.rows[row] for row in pick.rows]

    def _check_ids(self, vocabulary: int) -> None:
        """Raise FormatError for packed ids outside the base's vocabulary."""
        for one in self.examples:
            highest = one.rows.highest
            if highest >= vocabulary:
                raise FormatError(
                    f"{one.source.file} holds the token {highest}, and the base has {vocabulary}: "
                    "pack it with this base's tokenizer"
                )

    def _check_sizes(self) -> None:
        """Raise FormatError for sizes that cut nothing off the base's vectors."""
        if any(size >= self._width for size in self.recipe.embed.sizes):
            raise FormatError(
                f"embed.sizes is {list(self.recipe.embed.sizes)}: the base's vectors have "
                f"{self._width} numbers, so name smaller sizes"
            )

    def _step(
        self,
        number: int,
        embed: tuple[Source, Sequence[TokenizedPair]] | None,
        generate: tuple[Source, Sequence[GenerateTokens]] | None,
    ) -> Step:
        start = time.perf_counter()
        rate = learning_rate(number, self.recipe.steps, self.recipe.schedule)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses: dict[str, float] = {}
        tokens = 0
        if embed is not None:
            losses |= self._embed(*embed)
            tokens += sum(len(text.ids) for pair in embed[1] for text in pair.texts)
        if generate is not None:
            losses |= self._generate(*generate)
            tokens += sum(len(sample.ids) for sample in generate[1])
        parameters = list(self.model.parameters.values())
        torch.nn.utils.clip_grad_norm_(parameters, self.recipe.schedule.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if not all(map(math.isfinite, losses.values())):
            raise FormatError(
                f"the loss is no longer a number at step {number + 1}: lower the learning rate"
            )
        seconds = time.perf_counter() - start
        return Step(number + 1, losses, rate, tokens, seconds, self.model.description)

    def _embed(self, source: Source, pairs: Sequence[TokenizedPair]) -> dict[str, float]:
        """Add the gradient of a source's embedding objectives; returns each one's loss."""
        batch = EmbedBatch(pairs)
        teacher = self._taught(batch.taught) if source.taught else None
        weight = self.recipe.embed.weight * source.weight
        parts: dict[str, float] = {}

        def loss_of(vectors: Tensor) -> Tensor:
            losses = self._embed_losses(source, batch, vectors, teacher)
            parts.update({name: loss.item() for name, loss in losses.items()})
            return weight * torch.stack(list(losses.values())).sum()

        self._gradients.of_vectors(self.model.vectors, batch.texts, loss_of)
        return parts

    def _taught(self, taught: Sequence[Taught]) -> Tensor:
        """The teacher's vectors of unit length, float32 [n, e]: made before, or packed."""
        words = [one for one in taught if isinstance(one, str)]
        if words and self._teachers:
            return torch.from_numpy(self._teachers.vectors(words)).to(self.model.device)
        return unit_vectors(
            [one for one in taught if isinstance(one, np.ndarray)], self.model.device
        )

    def _embed_losses(
        self, source: Source, batch: EmbedBatch, vectors: Tensor, teacher: Tensor | None
    ) -> dict[str, Tensor]:
        """Each objective's loss, the mean over the vectors whole and cut to the recipe's sizes.

        Vectors are compared with whitened ones of the teachers whole: their parts follow.
        """
        parts = objectives.cut(vectors, self.recipe.embed.sizes)
        each = [dict(self._losses_of(source, batch, part, teacher)) for part in parts]
        losses = {name: torch.stack([one[name] for one in each]).mean() for name in each[0]}
        return losses | self._whitened.losses(source.objectives, vectors, teacher)

    def _losses_of(
        self, source: Source, batch: EmbedBatch, vectors: Tensor, teacher: Tensor | None
    ) -> Iterator[tuple[str, Tensor]]:
        if "contrastive" in source.objectives:
            own = batch.own.to(vectors.device)
            queries, passages = vectors[batch.queries], vectors[batch.passages]
            temperature = self.recipe.embed.temperature
            yield "contrastive", objectives.contrastive(queries, passages, own, temperature)
        if "distillation" in source.objectives:
            assert teacher is not None
            yield "distillation", objectives.distillation(vectors, teacher)
        if "ranking" in source.objectives:
            scores = torch.tensor([pair.score for pair in batch.pairs], device=vectors.device)
            queries, passages = vectors[batch.queries], vectors[batch.firsts]
            yield "ranking", objectives.ranking(queries, passages, scores)

    def _generate(self, source: Source, samples: Sequence[GenerateTokens]) -> dict[str, float]:
        """Add the gradient of a generative objective; returns its loss."""
        reduce = objectives.GENERATIVE[self.recipe.generate.loss]
        imitation = self.recipe.generate.imitation if source.objectives == ("cached",) else 0.0
        loss = self._gradients.of_tokens(
            partial(self.model.token_losses, imitation=imitation),
            samples,
            reduce,
            self.recipe.generate.weight * source.weight,
        )
        return {source.objectives[0]: loss}


def learning_rate(step: int, steps: int, schedule: Schedule) -> float:
    """Linear warm-up, then a cosine down to FINAL_RATE of the highest rate; `step` is from 0."""
    if step < schedule.warmup_steps:
        return schedule.learning_rate * (step + 1) / schedule.warmup_steps
    done = (step - schedule.warmup_steps) / max(1, steps - schedule.warmup_steps)
    cosine = (1 + math.cos(math.pi * done)) / 2
    return schedule.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * cosine)
