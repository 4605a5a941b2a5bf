import importlib.metadata
import platform
import subprocess

import pytest

from contrastive_learning.tracking.provenance import PACKAGES, environment, flatten, git_diff, git_state


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "code.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_clean_checkout_is_its_commit(repository):
    folder, commit = repository
    assert git_state(folder) == {"commit": commit, "dirty": "no"}
    assert git_diff(folder) == ""


def test_uncommitted_changes_are_kept_as_a_diff(repository):
    folder, commit = repository
    (folder / "code.py").write_text("x = 2\n")
    assert git_state(folder) == {"commit": commit, "dirty": "yes"}
    assert "-x = 1\n+x = 2" in git_diff(folder)


def test_an_untracked_file_makes_a_checkout_dirty_but_is_not_in_the_diff(repository):
    folder, _ = repository
    (folder / "secret.txt").write_text("secret")
    assert git_state(folder)["dirty"] == "yes"
    assert git_diff(folder) == ""


def test_outside_a_checkout_nothing_is_known(tmp_path):
    assert git_state(tmp_path) == {}
    assert git_diff(tmp_path) == ""
    assert git_state(tmp_path / "nowhere") == {}


def test_the_environment_names_the_installed_versions():
    found = environment()
    assert found["python"] == platform.python_version()
    assert {name: found[name] for name in PACKAGES} == {name: importlib.metadata.version(name) for name in PACKAGES}


def test_a_nested_config_becomes_dotted_names():
    config = {"loss": {"temperature": 0.07, "weights": [1, {"a": 2}]}, "empty": {}, "none": None, "seed": 0}
    assert flatten(config) == {
        "loss.temperature": 0.07,
        "loss.weights.0": 1,
        "loss.weights.1.a": 2,
        "empty": {},
        "none": None,
        "seed": 0,
    }
