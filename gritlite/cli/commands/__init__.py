"""The commands, one module each; `gritlite.cli.main` lists them."""
