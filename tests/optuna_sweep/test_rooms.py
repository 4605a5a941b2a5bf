"""The walls of the sweep engine, as its packages' docstrings describe them."""

import ast
from pathlib import Path

import optuna_sweep

ROOT = Path(optuna_sweep.__file__).parent
MAY_USE = {
    "": set(),  # the files beside the rooms
    "trial": {"", "study"},  # the job's side
    "study": {""},
    "plan": {"", "study"},
    "record": {""},
    "run": {"", "study", "plan", "record", "trial"},
}


def module_of(file):
    return ".".join(file.relative_to(ROOT.parent).with_suffix("").parts)


MODULES = {module_of(file): file for file in ROOT.rglob("*.py") if file.name != "__init__.py"}


def imports(file):
    """Modules of the engine that a file imports anywhere: also inside functions, and for types only."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.module
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("optuna_sweep"):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)


def room_of(module):
    parts = module.split(".")[1:]
    return parts[0] if len(parts) > 1 or parts == ["trial"] else ""


def test_each_room_uses_only_the_rooms_that_it_may():
    uses = {(room_of(module), room_of(used)) for module, file in MODULES.items() for used in imports(file)}
    assert ("run", "record") in uses
    assert {(room, used) for room, used in uses if used not in MAY_USE[room] | {room}} == set()


def test_nothing_imports_in_a_circle():
    left = {module: set(imports(file)) for module, file in MODULES.items()}
    while free := [module for module, used in left.items() if not used & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []
