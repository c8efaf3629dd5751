"""The commands. `NAME.py` is the command NAME; `NAME_*.py` is code that only that command uses."""
