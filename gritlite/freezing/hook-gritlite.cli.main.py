"""The commands of `gritlite`, each of which is imported when it runs, and what `doctor` looks up.

An app without the command line does not get them.
"""

import contextlib
from importlib.metadata import PackageNotFoundError

from PyInstaller.utils.hooks import collect_submodules, copy_metadata

from gritlite.freezing.extras import packages

hiddenimports = collect_submodules("gritlite.cli.commands")
datas = []
for name in (*packages("rag"), *packages("serve")):
    with contextlib.suppress(PackageNotFoundError):  # the extra is not installed
        datas += copy_metadata(name)
