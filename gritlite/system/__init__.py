"""The floor: files, processes, the machine, and the cache where models lie.

Nothing here knows what a model is.
"""
