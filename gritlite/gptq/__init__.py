"""GPTQ: 4-bit weights that are solved for, so that errors of one column make up for another's.

Source: Frantar et al., arXiv 2210.17323, as GPTQModel implements it. What is
ours are the passes that it calibrates with, in both of a GritLM model's modes.
Needs the extra `[gptq]`.
"""
