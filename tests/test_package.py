"""The package as a whole: its names, its wheel, its dependencies."""

import ast
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gritlite
import gritlite.rag
from gritlite import errors
from gritlite.rag import extra
from scripts import imports

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "gritlite"


@pytest.mark.parametrize("package", [gritlite, gritlite.rag])
def test_all_is_what_can_be_had(package):
    assert sorted(package.__all__) == package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
    public = {name for name in dir(package) if not name.startswith("_")}
    modules = {path.stem for path in Path(package.__file__).parent.iterdir()}
    helpers = {"importlib", "Any", "TYPE_CHECKING"}
    assert public - modules - helpers == set(package.__all__) - {"__version__"}


def test_every_error_is_public():
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes <= set(gritlite.__all__)


def test_an_unknown_name():
    for package in (gritlite, gritlite.rag):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            package.nothing  # noqa: B018


def test_import_is_light():
    code = (
        "import gritlite, sys; gritlite.GritLiteError; gritlite.instruction('x'); "
        "sys.exit('numpy' in sys.modules or 'llama_cpp' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_store_needs_its_extra_when_it_is_opened_and_not_before(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "usearch" else found(name))
    with pytest.raises(gritlite.MissingExtraError, match=r'pip install "gritlite\[rag\]"'):
        gritlite.Store.open("notes.grit", model=None)


def test_the_core_imports_without_extras():
    """`from gritlite import *` where none of the packages of the extra `rag` can be imported."""
    code = (
        "import sys\n"
        "for name in ('chardet', 'docx', 'filelock', 'lxml', 'markdown_it', 'pypdfium2',\n"
        "             'selectolax', 'semantic_text_splitter', 'usearch', 'xxhash'):\n"
        "    sys.modules[name] = None\n"
        "from gritlite import *\n"
        "assert Store.open and GritLM"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_conversion_needs_no_runtime():
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


# DESIGN: a room imports only what stands below it; nothing else is allowed, nor inside functions
FLOOR = {"errors", "prompt", "system", "version"}
ARROWS = {
    "__main__": {"cli"},
    "__init__": {"errors", "prompt", "pull", "rag", "runtime", "system", "version"},
    "cli": {
        *("serve", "eval", "train", "gptq", "rag", "calibrate", "pull", "convert"),
        *("runtime", "quant", "modelfile"),
        *FLOOR,
    },
    "serve": {"rag", "runtime", "modelfile", *FLOOR},
    "freezing": {"system"},
    "integrations": {"runtime", *FLOOR},
    "eval": {"rag", "calibrate", "runtime", "modelfile", *FLOOR},
    "train": {"convert", "runtime", *FLOOR},
    "gptq": {"calibrate", "convert", "runtime", "quant", "modelfile", *FLOOR},
    "rag": {"runtime", "quant", "modelfile", *FLOOR},
    "calibrate": {"runtime", "quant", "modelfile", *FLOOR},
    "pull": {"convert", *FLOOR},
    "convert": {"graph", "quant", "modelfile", *FLOOR},
    "runtime": {"graph", "quant", "modelfile", *FLOOR},
    "graph": {"quant", "modelfile", *FLOOR},
    "quant": {"modelfile", *FLOOR},
    "modelfile": {"errors", "prompt", "system"},
    "system": {"errors"},
    "prompt": {"errors"},
    "errors": set(),
    "version": set(),
}


def test_arrows_point_one_way():
    found = imports.arrows(PACKAGE)
    assert {room for arrow in found for room in arrow} == set(ARROWS)
    wrong = {f"{source} -> {target}" for source, target in found if target not in ARROWS[source]}
    assert wrong == set()
    assert imports.circles(found) == []


def test_an_arrow_inside_a_function_counts(tmp_path):
    (tmp_path / "low").mkdir()
    (tmp_path / "low" / "a.py").write_text("def f():\n    from gritlite.high import b\n")
    (tmp_path / "high.py").write_text("from gritlite import low, Name\nimport gritlite.low.a\n")
    found = imports.arrows(tmp_path)
    assert found == {("low", "high"): 1, ("high", "low"): 2, ("high", "__init__"): 1}
    assert imports.circles(found) == [("high", "low"), ("low", "high")]


def test_the_picture_of_the_structure_is_current():
    assert imports.drawn(imports.arrows(PACKAGE)) in imports.PAGE.read_text(encoding="utf-8"), (
        "docs/structure.md is stale: run  python scripts/imports.py --page"
    )


def test_a_reduced_graph_leaves_out_what_others_imply():
    assert imports.reduced([("a", "b"), ("b", "c"), ("a", "c")]) == [("a", "b"), ("b", "c")]


MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def test_files_and_functions_are_short():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MOST_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= MOST_FUNCTION_LINES, (path, node.name, lines)


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
def test_a_package_with_telemetry_is_imported_in_one_module(package):
    """Which imports it without."""
    found = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if any(
            line.lstrip().startswith((f"import {package}", f"from {package}"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert found == [f"{package}_package.py"]


# what only an extra brings: modules that need them are imported by tests/oracle, tests/gptq and
# tests/clients
FROM_EXTRAS = {"chromadb", "langchain_core", "llama_index", "mteb", "torch"}


# run by PyInstaller and by the apps that it makes
NO_MODULES = ("__main__.py", "hook-", "pyi_rth_")


def test_every_module_can_be_imported():
    for path in PACKAGE.rglob("*.py"):
        if not path.name.startswith(NO_MODULES):
            parts = path.relative_to(ROOT).with_suffix("").parts
            try:
                importlib.import_module(".".join(parts).removesuffix(".__init__"))
            except (ModuleNotFoundError, errors.MissingExtraError) as error:
                missing = error if isinstance(error, ModuleNotFoundError) else error.__cause__
                assert missing.name in FROM_EXTRAS, path
