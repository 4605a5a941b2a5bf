"""The papers and README files say what is true: links, commands and names in them exist."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
YAML = [*GITHUB.rglob("*.yml"), GITHUB / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]
MAKE_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def name(path):
    return str(path.relative_to(ROOT))


def test_the_licence_is_the_standard_text_with_the_copyright_line_filled_in():
    text, ours = (ROOT / "LICENSE").read_text(), "Copyright 2026 contrastive-quality contributors"
    assert text.count(ours) == 1
    blank = text.replace(ours, "Copyright [yyyy] [name of copyright owner]")
    # of https://www.apache.org/licenses/LICENSE-2.0.txt
    assert sha256(blank.encode()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.mark.parametrize("path", YAML, ids=name)
def test_yaml_is_valid_and_calls_make_targets_that_exist(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))
    called = re.findall(r"run: make ([\w-]+)", path.read_text(encoding="utf-8"))
    assert called or path.parent.name != "workflows"
    assert set(called) <= MAKE_TARGETS


def test_pre_commit_formats_with_the_ruff_that_lints_here():
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (rev,) = (each["rev"] for each in repositories if each["repo"].endswith("ruff-pre-commit"))
    assert f"ruff=={rev.removeprefix('v')}" in (ROOT / ".ci/constraints.txt").read_text().splitlines()
