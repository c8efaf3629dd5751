"""Pull models into the cache: from Python packages and Hugging Face repositories."""
