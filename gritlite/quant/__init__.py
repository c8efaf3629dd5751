"""Number formats: which type each tensor gets, and its rows in that type.

`types` names the targets, `choices` picks a type for every tensor of a model,
`rows` turns float32 rows into a type's bytes. None of them knows checkpoints
or files.
"""
