"""`contrastive-judge export`: a folder for other libraries, with a card that the record of the run writes."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from contrastive_app.judge.card import card
from contrastive_app.judge.models import find_judge, settings_of
from contrastive_app.judge.origin import origin_of
from support.judges import CRITERIA, RESPONSES, export
from support.rows import write_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("judge")]


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch):
    monkeypatch.setattr("contrastive_app.judge.card.RESAMPLES", 30)  # of which intervals are made


def test_a_card_says_what_the_run_has_recorded(trained, tmp_path):
    """The same from the run's output folder and from the store; the numbers are those of the run."""
    cards = []
    for number, model in enumerate((str(trained.output), trained.run_id)):
        scratch, store = tmp_path / str(number), f"sqlite:///{trained.folder}/mlflow.db"
        folder, _ = find_judge(model, store, scratch)
        origin = origin_of(folder, model, store, scratch)
        cards.append(card(settings_of(folder), origin, "Call it.", library="onnxruntime", notes=["It is small."]))
    text = cards[0]
    assert cards[1] == text
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "onnxruntime"
    assert "license" not in front  # an encoder from scratch has none
    run = json.loads((trained.output / "run.json").read_text(encoding="utf-8"))
    assert run["run_id"] in text
    assert run["data"] in text
    assert "train 96, valid 48, test 48, test_ood 48." in text
    assert "3.0 (3 to 3)" in text
    metrics = json.loads((trained.output / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    for criterion, threshold in zip(trained.criteria, settings_of(trained.output / "judge")["thresholds"], strict=True):
        f1, auroc = (f"{metrics[f'test/{name}/{criterion}']:.3f}" for name in ("f1", "auroc"))
        assert re.search(rf"\| {criterion} \| {threshold:.4f} \| \d+% \| {f1} \| {auroc} \|", text)
    for prefix, split in (("val", "valid"), ("test", "test"), ("test_ood", "test_ood")):
        (shown,) = re.findall(rf"^\| {split} \| (.*) \|$", text, re.MULTILINE)
        for cell, name in zip(shown.split(" | "), ("macro_f1", "auroc", "brier"), strict=True):
            value, low, high = map(float, re.fullmatch(r"(\S+) \((\S+) to (\S+)\)", cell).groups())
            assert value == pytest.approx(metrics[f"{prefix}/{name}"], abs=6e-4)
            assert low < value < high
    assert "- It is small." in text


def test_a_judge_is_carried_away_with_its_notice_and_card(judge, tmp_path, monkeypatch):
    pytest.importorskip("sentence_transformers", reason="the optional extra huggingface is not installed")
    export(tmp_path / "judge", encoder="plain")
    monkeypatch.chdir(tmp_path)
    told = judge("export", "judge", "out")
    assert re.search(
        r"^checked in fp32: probabilities of 2 responses differ by \S+e-0[78] at most from the judge's$",
        told,
        re.MULTILINE,
    )
    assert "The run that trained this judge was not at hand" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert {"modules.json", "NOTICE", "config.json", "tokenizer.json"} < {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert {path.name for path in tmp_path.iterdir()} == {"judge", "out"}
    assert judge("export", tmp_path / "judge", tmp_path / "out").endswith(
        "out exists already: remove it, or choose another OUT"
    )


def test_what_cannot_be_exported_is_said_in_one_line(trained, judge, tmp_path, monkeypatch):
    for package, extra in (("sentence_transformers", "huggingface"), ("onnxruntime", "onnx")):
        pytest.importorskip(package, reason=f"the optional extra {extra} is not installed")
    assert judge("export", trained.output, tmp_path / "out").startswith("error: --format hf cannot express judge=neigh")
    assert judge("export", tmp_path / "none/out").startswith("error: OUT must be in a folder that exists, got ")
    export(tmp_path / "plain", encoder="plain")
    assert judge("export", tmp_path / "out", "--int8") == "error: --int8 and --data belong to --format onnx or openvino"
    told = judge("export", tmp_path / "plain", tmp_path / "out", "--int8", "--format", "onnx")
    assert told.startswith("error: --int8 is chosen on responses with votes, and the run's are not recorded: ")
    file = write_rows(tmp_path / "a.jsonl", [{"response": "좋아요", "votes": {"politeness": [1]}}])
    told = judge("export", tmp_path / "plain", tmp_path / "out", "--data", file, "--format", "onnx")
    assert told == f"error: --data must have responses with votes on {', '.join(CRITERIA)}"
    monkeypatch.delenv("HF_TOKEN", raising=False)
    told = judge("export", tmp_path / "out", "--push", "me/judge")
    assert told == "error: --push needs a token of the hub in the environment variable HF_TOKEN"
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "a.jsonl"}


def scores(judge, file, model, out):
    judge(file, "--model", model, "--out", out)
    return pd.read_json(out, lines=True, dtype={"id": str})


def test_a_judge_for_another_runtime_scores_files_as_the_judge_does(trained, judge, tmp_path):
    """One that compares with neighbours, by the command and by MLflow; the table is measured on the run's valid."""
    pytest.importorskip("onnxruntime", reason="the optional extra onnx is not installed")
    told = judge("export", trained.run_id, tmp_path / "out", "--format", "onnx")
    assert "On 48 responses of valid, compared with onnx fp32" in told
    metrics = json.loads((trained.output / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^\| onnx fp32 \| \S+ \| 1.00 x \| {metrics['val/auroc']:.4f} \| \+0.0000 \| 0.00% \|$", text, re.MULTILINE
    )
    rows = trained.rows("test")
    file = write_rows(tmp_path / "test.jsonl", rows)
    own, its = (
        scores(judge, file, model, tmp_path / f"{n}.jsonl")
        for n, model in enumerate((trained.output, tmp_path / "out"))
    )
    for criterion in trained.criteria:
        assert np.abs(own[f"probability/{criterion}"] - its[f"probability/{criterion}"]).max() < 1e-5
        assert (own[f"decision/{criterion}"] == its[f"decision/{criterion}"]).all()
    served = mlflow.pyfunc.load_model(str(tmp_path / "out"))
    texts = pd.DataFrame([{"context": row["context"], "response": row["response"]} for row in rows])
    judged = served.predict(texts, params={"neighbours": 1})
    assert np.abs(judged[f"probability/{trained.criteria[0]}"] - its[f"probability/{trained.criteria[0]}"]).max() < 1e-6
    assert len(judged[f"neighbours/{trained.criteria[0]}"][0]) == 1
    assert "is an export itself" in judge("export", tmp_path / "out", tmp_path / "again")


@pytest.mark.parametrize(("allowed", "kept"), [(2.0, True), (-2.0, False)])
def test_int8_is_kept_if_it_loses_little(judge, tmp_path, monkeypatch, allowed, kept):
    pytest.importorskip("onnxruntime", reason="the optional extra onnx is not installed")
    monkeypatch.setattr("contrastive_app.judge.speed.MOST_AUROC_LOST", allowed)
    export(tmp_path / "judge")
    votes = [{name: [vote] * 3 for name in CRITERIA} for vote in (0, 1, 1, 0)]
    rows = [
        {"context": list(item.context), "response": item.response, "votes": cells}
        for item, cells in zip(RESPONSES, votes, strict=True)
    ]
    file = write_rows(tmp_path / "voted.jsonl", rows)
    told = judge("export", tmp_path / "judge", tmp_path / "out", "--format", "onnx", "--int8", "--data", file)
    assert "On 4 responses of voted.jsonl" in told
    assert ("of AUROC: kept" if kept else "of AUROC: not kept, fp32 is") in told
    content = (tmp_path / "out/artifacts/judge/model.onnx").read_bytes()
    assert (b"MatMulInteger" in content) == kept
    assert ("rounded to int8" in (tmp_path / "out/README.md").read_text(encoding="utf-8")) == kept


class Hub(BaseHTTPRequestHandler):
    """The part of a hub's interface that an upload calls; keeps what it is sent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": item["path"], "uploadMode": "regular", "shouldIgnore": False}
                for item in json.loads(body)["files"]
            ]
            answer = {"files": files}
        else:
            answer = {
                "url": f"{huggingface_hub.constants.ENDPOINT}/me/judge",
                "commitUrl": f"{huggingface_hub.constants.ENDPOINT}/me/judge/commit/0",
                "commitOid": "0",
                "errors": [],
                "warnings": [],
            }
        self._answer(answer)

    def do_GET(self):
        self._answer({"id": "me/judge", "sha": "0" * 40, "siblings": []})

    def _answer(self, content):
        sent = json.dumps(content).encode()
        self.send_response(401 if self.server.refuses else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked, server.refuses = [], False
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_judge_is_pushed_to_a_private_model_and_the_token_is_not_printed(judge, tmp_path, hub, monkeypatch):
    pytest.importorskip("sentence_transformers", reason="the optional extra huggingface is not installed")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    export(tmp_path / "judge", encoder="plain")
    told = judge("export", tmp_path / "judge", tmp_path / "out", "--push", "me/judge")
    assert "pushed: http" in told
    assert "hf_secret" not in told
    assert {token for _, token, _ in hub.asked} == {"Bearer hf_secret"}
    create, commit = hub.asked[0], hub.asked[-1]
    assert (create[0], json.loads(create[2])["visibility"]) == ("/api/repos/create", "private")
    sent = {json.loads(line)["value"].get("path") for line in commit[2].splitlines()}
    assert {"modules.json", "README.md", "3_Dense/model.safetensors"} < sent
    hub.refuses = True
    told = judge("export", tmp_path / "judge", tmp_path / "b", "--push", "me/judge")
    assert told.startswith("error: --push me/judge: ")
    assert "401" in told
    assert "\n" not in told
