"""Packages have what they say that they export."""

import importlib
import subprocess
import sys
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


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_all_that_it_exports(package):
    module = importlib.import_module(package)
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def test_every_package_can_be_imported_with_a_star():
    code = "\n".join(f"from {package} import *" for package in PACKAGES)
    environment = {"PYTHONPATH": f"{SRC}", "PATH": ""}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
