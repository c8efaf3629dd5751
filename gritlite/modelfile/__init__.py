"""GGUF headers: read, check, describe and write them. Tensor data is never interpreted."""
