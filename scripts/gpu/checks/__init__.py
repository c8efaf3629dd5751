"""What a GPU has to show, in parts that run apart from each other: `scripts/gpu/check`.

The same parts run on a processor, as a rehearsal. What that cannot show is marked
so in the results, and never passed.
"""
