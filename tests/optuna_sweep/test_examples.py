"""The examples in the sweep engine's docstrings do what they say."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("module", ["comparison", "errors", "plan.objective", "run.limits"])
def test_examples_in_docstrings(module, capsys):
    failed, attempted = doctest.testmod(import_module(f"optuna_sweep.{module}"))
    assert attempted > 0
    assert failed == 0, capsys.readouterr().out
