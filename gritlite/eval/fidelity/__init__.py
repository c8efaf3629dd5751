"""Fidelity of quantized files: their outputs compared with a reference, in both modes."""
