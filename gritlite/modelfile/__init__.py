"""What a GGUF file says of itself: its header, its facts, and whether its parts fit together."""
