"""The graph engine: embedding passes and prefill in ONNX Runtime or OpenVINO.

It runs the graphs that `gritlite.graph` writes. It generates nothing: llama.cpp decodes from
the keys and values that it computes.
"""
