"""The model in training: a frozen base with low-rank adapters, in both modes.

transformers runs the base, PEFT the adapters. Forward passes are split into groups of
sequences of similar length, so that little is computed for padding.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gritlite.train.attention import by_length, pad
from gritlite.train.recipe import Adapter
from gritlite.train.tokens import EmbedTokens, GenerateTokens

# tokens of one forward pass, padding included; a GPU waits for its next kernel in short ones
PASS_TOKENS = 2048
GPU_PASS_TOKENS = 16_384


def best_device() -> torch.device:
    """Return the GPU if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes bfloat16 products natively; emulation is slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class AdaptedModel:
    """A base with adapters on the linear layers of its blocks.

    `bidirectional` False embeds with causal attention, the `cccc` of the paper.
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
        self._dtype = torch.bfloat16 if computes_bfloat16(device) else torch.float32
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
        self._body = base.model
        self._head = base.lm_head

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The adapters' parameters by name; nothing else is trained."""
        return {name: p for name, p in self.peft.named_parameters() if p.requires_grad}

    def vectors(self, texts: Sequence[EmbedTokens]) -> Tensor:
        """Return mean-pooled vectors of unit length, float32 [n, d]."""
        pooled: list[Tensor] = []
        order: list[int] = []
        for places in by_length([len(text.ids) for text in texts], self._pass_tokens):
            group = [texts[place] for place in places]
            both_ways = [len(text.ids) if self._bidirectional else 0 for text in group]
            hidden = self._hidden([text.ids for text in group], both_ways)
            pooled += [
                row[text.start : len(text.ids)].mean(dim=0)
                for row, text in zip(hidden, group, strict=True)
            ]
            order += places
        stacked = functional.normalize(torch.stack(pooled), dim=1)
        return stacked[torch.tensor(order, device=self.device).argsort()]

    def token_losses(self, samples: Sequence[GenerateTokens]) -> list[Tensor]:
        """Return each sample's cross-entropy, in nats, of every token to be learned."""
        losses: dict[int, Tensor] = {}
        for places in by_length([len(sample.ids) for sample in samples], self._pass_tokens):
            group = [samples[place] for place in places]
            hidden = self._hidden([s.ids for s in group], [s.document for s in group])
            for place, row, sample in zip(places, hidden, group, strict=True):
                learned = torch.tensor(sample.loss).nonzero()[:, 0]
                targets = torch.tensor(sample.ids)[learned].to(self.device)
                with self._precision():
                    logits = self._head(row[(learned - 1).to(self.device)])
                losses[place] = functional.cross_entropy(logits.float(), targets, reduction="none")
        return [losses[place] for place in range(len(samples))]

    def _hidden(self, ids: Sequence[Sequence[int]], both_ways: Sequence[int]) -> Tensor:
        """Final hidden states, float32 [n, l, d]."""
        padded = pad(ids, both_ways, self.device)
        with self._precision():
            output = self._body(
                padded.ids,
                attention_mask=padded.mask,
                position_ids=padded.positions,
                use_cache=False,
            )
        return output.last_hidden_state.float()

    def _precision(self) -> Any:
        is_half = self._dtype is torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_half)
