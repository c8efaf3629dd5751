"""The lowest layer: files, processes, the machine, and the cache of models.

Nothing here knows what a model is.
"""
