"""gritlite: one quantized GritLM file that embeds text and generates it."""
