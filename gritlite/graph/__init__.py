"""A model's layers as a graph for ONNX Runtime or OpenVINO, made from a GGUF file.

`network` reads what the model is, `tensors` its weights, and `layers` describes the layers
once, through the `GraphWriter` of the runtime that will run them. No model runs here.
"""
