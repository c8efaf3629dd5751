"""Ollama's interface (github.com/ollama/ollama/blob/main/docs/api.md): one file for each need."""
