"""GPTQ quantization: weights are rounded so that the errors of columns compensate each other.

Source: Frantar et al., arXiv 2210.17323, implemented by GPTQModel. This package adds
calibration passes in both modes of a GritLM model. Needs the extra `[gptq]`.
"""
