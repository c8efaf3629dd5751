"""Quantization: which type each tensor gets, and its rows in that type. No model runs here.

`types` lists the targets, `type_selection` selects a type for every tensor of a
model, `rows` quantizes float32 rows, `imatrix` reads and writes importance matrices.
"""
