"""What quantizing cost: the outputs of files beside those of a reference, in both tasks."""
