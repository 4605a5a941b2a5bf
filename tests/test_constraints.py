import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(lines):
    return {re.match(r"[\w.-]+", line).group().lower() for line in lines if line[0].isalpha()} - {PROJECT["name"]}


@pytest.mark.parametrize(
    "extra",
    ["gpu", "xlsx", "postgres", "cmaes", "joblib", "submitit", "index", "huggingface", "onnx", "openvino", "dev"],
)
def test_an_extra_is_held_to_the_versions_that_were_tested(extra):
    constraints = (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8").splitlines()
    assert names([*PROJECT["dependencies"], *EXTRAS[extra]]) <= names(constraints)
