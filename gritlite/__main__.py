"""`python -m gritlite` is the command `gritlite`."""

from gritlite.cli.main import main

if __name__ == "__main__":
    main()
