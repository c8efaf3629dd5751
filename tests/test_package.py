"""The package as a whole: its names, its wheel, its dependencies."""

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gritlite
from gritlite import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gritlite"


def test_all_is_what_can_be_had():
    assert sorted(gritlite.__all__) == gritlite.__all__
    for name in gritlite.__all__:
        assert getattr(gritlite, name) is not None
    public = {name for name in dir(gritlite) if not name.startswith("_")}
    modules = {path.stem for path in PACKAGE.iterdir()}
    assert public - modules - {"importlib", "Any", "TYPE_CHECKING"} == set(gritlite.__all__) - {
        "__version__"
    }


def test_every_error_is_public():
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(gritlite.__all__)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gritlite.nothing  # noqa: B018


def test_import_is_light():
    code = (
        "import gritlite, sys; gritlite.GritLiteError; gritlite.instruction('x'); "
        "sys.exit('numpy' in sys.modules or 'llama_cpp' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_conversion_needs_no_runtime():
    """Though quant measures through it."""
    code = "import gritlite.convert, sys; sys.exit('gritlite.runtime' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    info = f"gritlite-{gritlite.__version__}.dist-info"
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected |= {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    expected.add(f"{info}/licenses/LICENSE")
    assert set(zipfile.ZipFile(wheel).namelist()) == expected


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("runtime", {"cli", "convert", "quant"}),  # of hub, it only asks where a model lies
        ("quant", {"cli", "convert", "hub"}),
        ("convert", {"cli", "gptq", "hub", "runtime"}),
        ("gptq", {"cli", "hub", "train"}),
        ("hub", {"cli", "quant", "runtime"}),
    ],
)
def test_arrows_point_one_way(room, forbidden):
    """DESIGN: a room imports only what stands below it."""
    for path in (PACKAGE / room).rglob("*.py"):
        for module in _imported(path):
            assert module.split(".")[1:2] not in [[name] for name in forbidden], (path, module)


def _imported(path):
    """The gritlite modules that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gritlite"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("gritlite"))


# what only an extra brings: modules that need them are imported by tests/oracle and tests/gptq
FROM_EXTRAS = {"torch", "mteb"}


def test_every_module_can_be_imported():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__main__.py":
            parts = path.relative_to(ROOT).with_suffix("").parts
            try:
                importlib.import_module(".".join(parts).removesuffix(".__init__"))
            except (ModuleNotFoundError, errors.MissingExtraError) as error:
                missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
                assert missing.name in FROM_EXTRAS, path
