"""The recorded judge, loaded and served by a process that does not see this repository."""

import builtins
import json
import os
import runpy
import subprocess
import sys
import time
import unicodedata
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from contrastive_learning import ContrastiveQualityModel
from contrastive_learning.judging import NeighboursJudge, PrototypesJudge, by_vectors
from contrastive_learning.runtime.devices import cpu_multiplies_bf16
from contrastive_learning.serving import check_servable, export_judge, extra_packages, judge, judge_weights
from contrastive_learning.tracking import MlflowTracking
from support.judges import CRITERIA, RESPONSES, export, loaded, scratch_encoder
from support.ports import free_port


def record(folder, evaluation_of=export, **changes):
    evaluation = evaluation_of(folder / "judge", **changes)
    with MlflowTracking(
        uri=f"sqlite:///{folder}/mlflow.db", experiment="serving", log_model=True, register=None, system_metrics=False
    ).open("τ=0.07", {}, folder=folder) as run:
        run.params({"loss.temperature": 0.07})
        run.log({"final/val/macro_f1": 0.75}, 3)
        return run.model(folder / "judge", CRITERIA), evaluation


def elsewhere(folder):
    """The environment of a process that has the packages, but neither this repository nor its editable install."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('src', 'contrastive_learning', 'hydra_plugins'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
    )
    return os.environ | {
        "PYTHONPATH": str(site),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


LOAD = """
import json, sys
import mlflow, pandas as pd
for name in ("contrastive_learning", "src"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} can be imported here: the test proves nothing")
rows = pd.DataFrame(json.loads(sys.argv[1]))
for uri in sys.argv[2:]:
    judged = mlflow.pyfunc.load_model(uri).predict(rows, params={"embeddings": True})
    print("judged", judged.to_json(orient="split", double_precision=15, force_ascii=False))
"""


def judged_elsewhere(folder, uris):
    rows = json.dumps([{"context": list(item.context), "response": item.response} for item in RESPONSES])
    done = subprocess.run(
        [sys.executable, "-c", LOAD, rows, *uris],
        cwd=folder,
        env=elsewhere(folder),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    tables = [json.loads(line.partition(" ")[2]) for line in done.stdout.splitlines() if line.startswith("judged ")]
    return [dict(zip(table["columns"], zip(*table["data"], strict=True), strict=True)) for table in tables]


@pytest.mark.slow
def test_a_process_without_this_repository_gives_the_same_probabilities(tmp_path):
    kinds = [
        {},
        {"encoder": "plain", "pooling": "mean", "normalization": "batch_norm"},
        {"encoder": "plain", "normalization": "none"},
        {"judge": NeighboursJudge(k=3, temperature=0.5, space="embeddings")},
        {"judge": PrototypesJudge(temperature=0.5, space="features")},
        {"precision": "bf16"},  # whether or not this CPU is fast at it
    ]
    recorded = [record(tmp_path, **changes) for changes in kinds]
    tables = judged_elsewhere(tmp_path, [uri for uri, _ in recorded])
    for changes, (_, evaluation), judged in zip(kinds, recorded, tables, strict=True):
        rounding = 0.02 if changes.get("precision") == "bf16" else 1e-5
        for column, criterion in enumerate(CRITERIA):
            expected = evaluation.probabilities[:, column]
            assert judged[f"probability/{criterion}"] == pytest.approx(expected.tolist(), abs=rounding), changes
            threshold = evaluation.thresholds[column]
            clear = np.abs(expected - threshold) > rounding
            assert np.array(judged[f"decision/{criterion}"])[clear].tolist() == (expected > threshold)[clear].tolist()
            assert all(0 <= share <= 1 for share in judged[f"vote_share/{criterion}"])
        assert np.array(judged["embedding"]) == pytest.approx(evaluation.embeddings, abs=rounding), changes
    assert not list(tmp_path.glob("mlartifacts/**/*.pkl"))
    weights = list(tmp_path.glob("mlartifacts/**/model.safetensors"))
    assert len(weights) == len(kinds)
    assert all("Apache-2.0" in file.with_name("NOTICE").read_text(encoding="utf-8") for file in weights)


def test_a_judge_that_is_written_again_leaves_the_recorded_one_as_it_is(tmp_path):
    record(tmp_path)
    (stored,) = tmp_path.glob("mlartifacts/**/judge/model.safetensors")
    assert stored.samefile(tmp_path / "judge/model.safetensors")
    before = stored.read_bytes()
    export(tmp_path / "judge", normalization="batch_norm")
    assert stored.read_bytes() == before != (tmp_path / "judge/model.safetensors").read_bytes()


def test_a_recorded_judge_has_the_name_the_params_and_the_objective_of_its_run(tmp_path):
    address, _ = record(tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    model = client.get_logged_model(address.removeprefix("models:/"))
    assert model.name == "judge τ=0_07"
    assert model.params == {"loss.temperature": "0.07"}
    assert [(each.key, each.value, each.step) for each in model.metrics] == [("final/val/macro_f1", 0.75, 3)]
    points = client.get_metric_history(model.source_run_id, "final/val/macro_f1")
    assert [point.value for point in points] == [0.75]  # not once more


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged or missing"):
        judge_weights(tmp_path)


def test_the_judge_computes_as_it_was_trained_where_that_is_fast():
    cpu = torch.device("cpu")
    assert judge._autocast_dtype("fp32", cpu) is judge._autocast_dtype("fp16", cpu) is None
    assert judge._autocast_dtype("bf16", cpu) == (torch.bfloat16 if cpu_multiplies_bf16() else None)


ROWS = pd.DataFrame([{"context": list(item.context), "response": item.response} for item in RESPONSES])


def test_neighbours_are_given_as_reasons(tmp_path):
    """Each of RESPONSES is its own nearest neighbour; the weights and votes of all three give the judgement."""
    export(tmp_path / "judge", judge=NeighboursJudge(k=3, temperature=0.5, space="features"))
    served = loaded(tmp_path / "judge")
    judged = served.predict(None, ROWS, {"neighbours": 3})
    plain = served.predict(None, ROWS)
    assert not [name for name in plain if name.startswith("neighbours/")]
    logits, _, _ = served._judge(served.tokens(ROWS.context, ROWS.response))
    for column, criterion in enumerate(CRITERIA):
        for row, reasons in enumerate(judged[f"neighbours/{criterion}"]):
            assert reasons[0]["response"] == RESPONSES[row].response
            assert reasons[0]["context"] == list(RESPONSES[row].context)
            assert reasons[0]["similarity"] == pytest.approx(1, abs=1e-5)
            assert [reason["similarity"] for reason in reasons] == sorted(
                (reason["similarity"] for reason in reasons), reverse=True
            )
            share = sum(reason["weight"] * reason["yes_votes"] / reason["num_votes"] for reason in reasons)
            head = 1 / (1 + np.exp(-logits[row, column]))
            assert plain[f"probability/{criterion}"][row] == pytest.approx((head + share) / 2, abs=1e-5)
    json.dumps(judged.to_dict("records"), default=bool)
    with pytest.raises(ValueError, match=r"neighbours must be 0..3, got 4"):
        served.predict(None, ROWS, {"neighbours": 4})


@pytest.mark.parametrize("mixed", [None, PrototypesJudge(temperature=0.5, space="embeddings")])
def test_a_judge_without_neighbours_says_so(tmp_path, mixed):
    """Also one that was recorded before there were judges by vectors: its settings do not name one."""
    export(tmp_path / "judge", judge=mixed)
    assert ("by_vectors" in json.loads((tmp_path / "judge/judge.json").read_text())) == (mixed is not None)
    with pytest.raises(ValueError, match="has no neighbours to give as reasons: train one with judge=neighbours"):
        loaded(tmp_path / "judge").predict(None, ROWS, {"neighbours": 1})


def test_an_index_is_named_among_the_packages_that_a_judge_needs(tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="the optional extra index is not installed")
    neighbours = NeighboursJudge(k=3, temperature=0.5, space="features")
    export(tmp_path / "few", judge=neighbours)
    monkeypatch.setattr(by_vectors, "EXACT_ROWS", 3)
    export(tmp_path / "many", judge=neighbours)
    assert [extra_packages(tmp_path / name) for name in ("few", "many")] == [[], ["faiss-cpu"]]


def test_a_text_in_pieces_is_judged_as_the_composed_one(tmp_path):
    """macOS writes Hangul in pieces (NFD); in training, texts are composed (NFC) when they are read."""
    export(tmp_path / "judge")
    served = loaded(tmp_path / "judge")
    served.tokenizer.backend_tokenizer.normalizer = None  # KLUE's composes nothing either
    rows = [{"context": list(item.context), "response": item.response} for item in RESPONSES]
    in_pieces = json.loads(unicodedata.normalize("NFD", json.dumps(rows, ensure_ascii=False)))
    assert in_pieces != rows
    judged = [served.predict(None, pd.DataFrame(given)) for given in (in_pieces, rows)]
    pd.testing.assert_frame_equal(*judged)


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_the_judge_decides_how_threads_wait_before_torch_is_imported(monkeypatch, given, expected):
    """Each import statement of the file is noted with the policy at that time; OpenMP reads it when it is loaded."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that it is restored
    monkeypatch.delenv("OMP_WAIT_POLICY")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    imported, at_import = builtins.__import__, {}

    def note(name, importer=None, *arguments):
        if importer is not None and importer.get("__file__") == judge.__file__:
            at_import[name] = os.environ.get("OMP_WAIT_POLICY")
        return imported(name, importer, *arguments)

    monkeypatch.setattr(builtins, "__import__", note)
    runpy.run_path(judge.__file__)
    heavy = {"mlflow", "numpy", "pandas", "torch", "transformers"}
    assert {name: at_import[name] for name in heavy} == dict.fromkeys(heavy, expected)


def ask(port, payload):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(payload, ensure_ascii=False).encode(),
        {"Content-Type": "application/json; charset=utf-8"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())["predictions"]


@pytest.fixture
def server(tmp_path):
    uri, evaluation = record(tmp_path)
    port = free_port()
    mlflow = Path(sys.executable).with_name("mlflow")
    command = [mlflow, "models", "serve", "-m", uri, "--env-manager", "local", "--host", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*map(str, command), "--workers", "1"],
            cwd=tmp_path,
            env=elsewhere(tmp_path) | {"PATH": f"{mlflow.parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(port, process, tmp_path / "server.log")
            yield port, evaluation
        finally:
            os.killpg(process.pid, 15)
            process.wait(20)


def _wait(port, process, log):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"the model server does not answer:\n{log.read_text()[-3000:]}")


@pytest.mark.slow
def test_a_served_model_answers_korean_over_http(server):
    port, evaluation = server
    rows = [{"context": list(item.context), "response": item.response} for item in RESPONSES]
    answers = ask(port, {"dataframe_records": rows})
    for column, criterion in enumerate(CRITERIA):
        found = [answer[f"probability/{criterion}"] for answer in answers]
        assert found == pytest.approx(evaluation.probabilities[:, column].tolist(), abs=1e-5)
    as_text = {"context": "오늘 날씨 어때요", "response": "산책하기 좋아요"}
    (answer,) = ask(port, {"dataframe_records": [as_text], "params": {"embeddings": True}})
    assert answer["probability/문법"] == pytest.approx(float(evaluation.probabilities[1, 0]), abs=1e-5)
    assert np.linalg.norm(answer["embedding"]) == pytest.approx(1, abs=1e-5)
    without = ask(port, {"dataframe_records": [{"response": "맑고 따뜻해요"}]})
    assert without[0]["probability/문법"] == pytest.approx(float(evaluation.probabilities[0, 0]), abs=1e-5)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(port, {"dataframe_records": [{"context": ["a"]}]})


def test_an_encoder_that_cannot_be_rebuilt_is_refused(tmp_path):
    class Foreign(torch.nn.Module):
        config = type("Config", (), {"hidden_size": 4})

    model = ContrastiveQualityModel("x", 1, 2, encoder=Foreign())
    with pytest.raises(ValueError, match="only a transformers encoder can be served, got Foreign"):
        export_judge(tmp_path, model, None, ["a"], None, max_length=8, prefix="", precision="fp32")
    assert list(tmp_path.iterdir()) == []


def test_whether_a_model_can_be_served_is_known_before_it_is_trained():
    """A transformers encoder is told by its configuration; one that only looks alike is refused by its name."""
    encoder, _ = scratch_encoder(["안녕하세요"] * 3)
    assert check_servable(ContrastiveQualityModel("x", 1, 2, encoder=encoder)) is encoder.config

    class Foreign(torch.nn.Module):
        config = type("Config", (), {"hidden_size": 4})

    with pytest.raises(ValueError, match="^only a transformers encoder can be served, got Foreign$"):
        check_servable(ContrastiveQualityModel("x", 1, 2, encoder=Foreign()))
