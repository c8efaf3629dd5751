"""Turn a calibration pass into the inputs of a transformers model: packed, not padded."""

import torch

from gritlite.calibrate.texts import Pass


def model_inputs(each: Pass) -> dict[str, torch.Tensor]:
    """Return `input_ids` and `position_ids` int64 [1, n], `attention_mask` bool [1, 1, n, n].

    A token attends to its own sequence: to all of it, or in a causal pass up to itself.
    """
    lengths = torch.tensor([len(sequence) for sequence in each.sequences])
    owners = torch.arange(len(lengths)).repeat_interleave(lengths)
    attends = owners[:, None] == owners[None, :]
    if each.causal:
        attends = attends.tril()
    return {
        "input_ids": torch.tensor([[token for sequence in each.sequences for token in sequence]]),
        "position_ids": torch.cat([torch.arange(int(length)) for length in lengths])[None],
        "attention_mask": attends[None, None],
    }
