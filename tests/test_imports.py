"""Packages say what they export, and no module of the project needs itself, not even for types."""

import ast
import importlib
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"


def module_name(file):
    parts = file.relative_to(SRC).with_suffix("").parts
    if len(parts) == 1:  # an entry point of the checkout
        return f"src.{parts[0]}"
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(SRC.rglob("*.py"))}
PACKAGES = [name for name, file in MODULES.items() if file.name == "__init__.py"]


def imported(name):
    """The modules that a module imports by name: at its top, in its functions, and for types only.

    `from package import thing` is an import of the submodule `thing` if there is one, else of the package's __init__.
    That Python runs the __init__ of a package before its submodules is not counted: it may export what they define.
    """
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found = [each for each in (f"{node.module}.{alias.name}", node.module) if each in MODULES]
                yield from found[:1]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_all_that_it_exports(package):
    module = importlib.import_module(package)
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def test_what_takes_seconds_and_can_come_later_is_not_imported_before_a_run_has_read_its_data():
    late = {"sklearn", "torch._dynamo", "transformers.modeling_utils"}
    code = f"import sys, contrastive_app.training_run\nassert not {late} & sys.modules.keys()"
    environment = {"PYTHONPATH": f"{SRC}", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: set(imported(name)) - {name} for name in MODULES}
    assert sum(map(len, graph.values())) > len(graph)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
