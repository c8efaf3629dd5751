"""Runs gritlite.gptq.child and keeps the sums behind its Hessians: OUTPUT.npz JOB."""

import atexit
import sys
from typing import Any

import numpy as np
import torch
from gptqmodel.quantization.gptq import GPTQ

from gritlite.gptq import child

found: dict[str, np.ndarray] = {}
process_batch = GPTQ.process_batch


def kept(self: GPTQ, inputs: torch.Tensor) -> Any:
    count, products, device = process_batch(self, inputs)
    name = self._named_module.full_name
    found[name] = found.get(name, 0) + products.double().cpu().numpy()
    return count, products, device


GPTQ.process_batch = kept
output = sys.argv.pop(1)
atexit.register(lambda: np.savez(output, **found))
child.main()
