"""What a person is told to type finds the program that runs now."""

import os

import pytest

from optuna_sweep.run.command import as_typed


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A program in bin/, and another of its name in other/; neither folder is on the PATH."""
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.defpath)
    return tmp_path / "bin/python"


def test_by_its_name_if_that_finds_it(program, monkeypatch):
    monkeypatch.setenv("PATH", str(program.parent))
    assert as_typed(program) == "python"


@pytest.mark.parametrize("path", ["", "other"])
def test_by_its_path_if_its_name_finds_nothing_or_another(program, path, monkeypatch):
    monkeypatch.setenv("PATH", path and str(program.parents[1] / path))
    assert as_typed(program) == "bin/python"


def test_by_its_whole_path_from_elsewhere(program, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(program.parents[1] / "other")
    assert as_typed(program) == str(program)
