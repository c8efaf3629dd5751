"""The model in training: a frozen base with low-rank adapters, in both modes.

PEFT holds the adapters. On a processor our own pass computes a Llama, on packed sequences;
transformers runs everything else, in groups of similar length, so that little is computed for
padding.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gritlite.train.attention import by_length, by_total, pack, pad
from gritlite.train.head import cross_entropy
from gritlite.train.kernels import Kernels, compiled
from gritlite.train.llama import PackedLlama, is_known
from gritlite.train.recipe import Adapter
from gritlite.train.tokens import EmbedTokens, GenerateTokens
from gritlite.train.workers import Workers

# tokens of one forward pass, padding included; a GPU waits for its next kernel in short ones
PASS_TOKENS = 2048
GPU_PASS_TOKENS = 16_384
# tokens of one graph, where a recipe sets no limit; one of a 135M model takes 2.1 MB, packed 0.7
GRAPH_TOKENS = 4096
PACKED_GRAPH_TOKENS = 8192
COMPILED = 10_000_000  # weights: a smaller model's steps are over before compiling pays


def best_device() -> torch.device:
    """Return the GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes bfloat16 products natively; emulation is slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision(device: torch.device) -> torch.dtype:
    """Return what products are computed in: bfloat16 where the device has it, else float32."""
    return torch.bfloat16 if computes_bfloat16(device) else torch.float32


class AdaptedModel:
    """A base with adapters on the linear layers of its blocks.

    `bidirectional` False embeds with causal attention, the `cccc` of the paper.
    `graph_tokens` is how many tokens' graph should be held at once, by all `workers` together.
    `projection` [d, d], where it is set, is what the mean of a text's states is multiplied by.
    """

    def __init__(
        self,
        base: Any,
        adapter: Adapter,
        *,
        device: torch.device,
        bidirectional: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        from peft import LoraConfig, get_peft_model

        self.device = device
        self._bidirectional = bidirectional
        self._pass_tokens = PASS_TOKENS if device.type == "cpu" else GPU_PASS_TOKENS
        self._dtype = precision(device)
        config = LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        base.to(device)
        with warnings.catch_warnings():
            # transformers is giving new names to what is called here, and by PEFT
            warnings.simplefilter("ignore", FutureWarning)
            if gradient_checkpointing:
                base.gradient_checkpointing_enable({"use_reentrant": False})
                base.enable_input_require_grads()
            self.peft = get_peft_model(base, config)
        self._base = base
        self.projection: Tensor | None = None
        self.graph_tokens = GRAPH_TOKENS
        self.workers = Workers(1)
        self._is_compiled = False
        self._packed: PackedLlama | None = None
        if device.type == "cpu" and not gradient_checkpointing and is_known(base):
            self.graph_tokens = PACKED_GRAPH_TOKENS
            self.workers = Workers.of_this_machine()
            kernels = compiled() if base.num_parameters() >= COMPILED else None
            self._is_compiled = kernels is not None
            self._packed = PackedLlama(base.model, self._dtype, kernels or Kernels())
            self._head = base.lm_head.weight.detach().to(self._dtype)

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The adapters' parameters by name; nothing else is trained."""
        return {name: p for name, p in self.peft.named_parameters() if p.requires_grad}

    @property
    def description(self) -> str:
        """The device, the precision, and whether sequences are packed and steps compiled."""
        name = str(self._dtype).removeprefix("torch.")
        packed = "padded" if self._packed is None else "packed"
        compiled = ", compiled" if self._is_compiled else ""
        return f"{self.device.type}, {name}, {packed}{compiled}"

    def vectors(self, texts: Sequence[EmbedTokens]) -> Tensor:
        """Return mean-pooled vectors of unit length, float32 [n, d]."""
        pooled: list[Tensor] = []
        order: list[int] = []
        for places in self._passes([len(text.ids) for text in texts]):
            group = [texts[place] for place in places]
            documents = [(len(text.ids),) if self._bidirectional else () for text in group]
            hidden = self._hidden([text.ids for text in group], documents)
            pooled += [
                row[text.start :].mean(dim=0) for row, text in zip(hidden, group, strict=True)
            ]
            order += places
        stacked = torch.stack(pooled)
        if self.projection is not None:
            stacked = stacked @ self.projection
        stacked = functional.normalize(stacked, dim=1)
        return stacked[torch.tensor(order, device=self.device).argsort()]

    def token_losses(
        self, samples: Sequence[GenerateTokens], imitation: float = 0.0
    ) -> list[Tensor]:
        """Return each sample's cross-entropy, in nats, of every token to be learned.

        `imitation` of it is the divergence from what the model itself, as it is now, expects
        after it has read the sample's documents in a prompt.
        """
        before = self._before_learned(samples)
        imitated = None
        if imitation:
            with torch.no_grad():
                imitated = torch.cat(self._before_learned([one.as_prompt() for one in samples]))
        targets = torch.tensor([token for sample in samples for token in sample.learned])
        found = self._losses(torch.cat(before), targets.to(self.device), imitated, imitation)
        return list(found.split([len(rows) for rows in before]))

    def _before_learned(self, samples: Sequence[GenerateTokens]) -> list[Tensor]:
        """The hidden states before each sample's tokens to be learned, float32 [learned, d]."""
        found: dict[int, Tensor] = {}
        for places in self._passes([len(sample.ids) for sample in samples]):
            group = [samples[place] for place in places]
            hidden = self._hidden([s.ids for s in group], [s.documents for s in group])
            for place, sample, states in zip(places, group, hidden, strict=True):
                learned = torch.tensor(sample.loss).nonzero()[:, 0]
                found[place] = states[(learned - 1).to(self.device)]
        return [found[place] for place in range(len(samples))]

    def _passes(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which sequences a forward pass takes together."""
        if self._packed is not None:
            return by_total(lengths, self._pass_tokens)
        return by_length(lengths, self._pass_tokens)

    def _hidden(
        self, ids: Sequence[Sequence[int]], documents: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """Final hidden states of each sequence, float32 [l, d]; sequences are sorted by length."""
        lengths = [len(sequence) for sequence in ids]
        if self._packed is not None:
            rows = self._packed(pack(ids, documents))
            return list(rows[: sum(lengths)].split(lengths))
        padded = pad(ids, documents, self.device)
        with self._precision():
            output = self._base.model(
                padded.ids,
                attention_mask=padded.mask,
                position_ids=padded.positions,
                use_cache=False,
            )
        hidden = output.last_hidden_state.float()
        return [row[:length] for row, length in zip(hidden, lengths, strict=True)]

    def _losses(
        self, hidden: Tensor, targets: Tensor, imitated: Tensor | None, imitation: float
    ) -> Tensor:
        """The losses of targets [n] after hidden states [n, d]; see `head.cross_entropy`."""
        if self._packed is not None:
            return cross_entropy(hidden, self._head, targets, imitated, imitation)
        losses = functional.cross_entropy(self._logits(hidden), targets, reduction="none")
        if imitated is None:
            return losses
        logs, others = (self._logits(rows).log_softmax(dim=1) for rows in (hidden, imitated))
        divergence = functional.kl_div(logs, others, reduction="none", log_target=True).sum(dim=1)
        return torch.lerp(losses, divergence, imitation)

    def _logits(self, hidden: Tensor) -> Tensor:
        with self._precision():
            logits: Tensor = self._base.lm_head(hidden)
        return logits.float()

    def _precision(self) -> Any:
        is_half = self._dtype is torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_half)
