"""GRIT fine-tuning (arXiv 2402.09906) with low-rank adapters, on small machines."""
