"""What a package lists in `__all__` can be imported from it."""

import importlib
import pkgutil

import pytest

import contrastive_learning

ROOMS = [
    "contrastive_learning",
    *(
        f"contrastive_learning.{each.name}"
        for each in pkgutil.iter_modules(contrastive_learning.__path__)
        if each.ispkg
    ),
]


@pytest.mark.parametrize("package", ROOMS)
def test_everything_that_is_offered_is_there(package):
    names = {}
    exec(f"from {package} import *", names)  # the statement itself is under test
    assert names.keys() >= set(getattr(importlib.import_module(package), "__all__", ()))
