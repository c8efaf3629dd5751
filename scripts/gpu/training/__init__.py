"""Training where a few parts come in and a few files go back: `scripts/gpu/train`."""
