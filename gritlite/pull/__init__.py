"""Fetching models: from packages, from Hugging Face repositories, and merging adapters."""
