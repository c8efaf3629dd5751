"""gritlite's command line, frozen: the server that an app in another language brings along."""

from gritlite.__main__ import main

if __name__ == "__main__":
    main()
