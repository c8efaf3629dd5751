"""Re-ranking as Jina and Cohere have it, and Cohere's embeddings (docs.cohere.com/reference)."""
