"""A judge for another runtime answers as the judge does, whatever its parts; int8 stays near."""

import json

import numpy as np
import pandas as pd
import pytest

from contrastive_learning.judging import NeighboursJudge
from contrastive_learning.serving import extra_packages
from contrastive_learning.serving.compiled import packages_to_write, write_compiled, write_int8
from support.judges import CRITERIA, RESPONSES, export, loaded

ROWS = pd.DataFrame([{"context": list(item.context), "response": item.response} for item in RESPONSES])
KINDS = [
    {"encoder": "plain", "pooling": "mean", "normalization": "batch_norm"},
    {"judge": NeighboursJudge(k=3, temperature=0.5, space="features")},  # its encoder makes token types
]
pytestmark = pytest.mark.filterwarnings("ignore")  # of the compilers and of what they import


def installed(runtime):
    for package in packages_to_write(runtime, int8=True):
        pytest.importorskip(package, reason=f"the optional extra {runtime} is not installed")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_compiled_judge_answers_as_the_judge_does(tmp_path, runtime, kind):
    """Batches of other sizes and lengths than that of the example; every column, embeddings too."""
    installed(runtime)
    export(tmp_path / "judge", **kind)
    write_compiled(tmp_path / "judge", tmp_path / "out", runtime)
    own, its = loaded(tmp_path / "judge"), loaded(tmp_path / "out")
    assert extra_packages(tmp_path / "out") == [{"onnx": "onnxruntime", "openvino": "openvino"}[runtime]]
    assert not (tmp_path / "out/model.safetensors").exists()
    for rows in (ROWS, ROWS[:1], ROWS[2:], ROWS[:0]):
        first, second = (judge.predict(None, rows, {"embeddings": True}) for judge in (own, its))
        assert list(first) == list(second)
        for name in first:
            if name.startswith("decision"):
                assert (first[name] == second[name]).all()
            else:
                difference = np.array(first[name].tolist()) - np.array(second[name].tolist())
                assert np.abs(difference).max(initial=0) < 1e-6, name


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_int8_is_near_and_keeps_all_settings(tmp_path, runtime):
    installed(runtime)
    export(tmp_path / "judge")
    write_compiled(tmp_path / "judge", tmp_path / "fp32", runtime)
    fp32 = loaded(tmp_path / "fp32")
    write_int8(tmp_path / "fp32", tmp_path / "int8", fp32.tokens(ROWS["context"], ROWS["response"]))
    settings = [json.loads((tmp_path / name / "judge.json").read_text(encoding="utf-8")) for name in ("fp32", "int8")]
    assert settings[0] == settings[1]
    first, second = (judge.predict(None, ROWS) for judge in (fp32, loaded(tmp_path / "int8")))
    differences = np.abs([first[f"probability/{name}"] - second[f"probability/{name}"] for name in CRITERIA])
    assert 0 < differences.max() < 0.05
