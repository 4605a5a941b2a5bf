"""Traces of MLflow: what a chatbot was asked and answered, in several shapes, and what people said of it."""

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource

from contrastive_learning.data import VotesData
from contrastive_learning.data.traces import texts_of
from contrastive_learning.tracking.models import as_tracking_uri
from support.commands import provide_store
from support.rows import write_rows

DEFAULTS = {
    "valid_path": None,
    "test_path": None,
    "test_ood_path": None,
    "criteria": None,
    "valid_fraction": 0.3,
    "test_fraction": 0.3,
    "held_out_domains": [],
    "split_seed": 0,
}

CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "어디로 갈까?"}]
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "바다요."}]}


@pytest.mark.parametrize(
    ("inputs", "context"),
    [
        (None, ()),
        ({}, ()),
        ("어디로 갈까?", ("어디로 갈까?",)),
        (["안녕", "어디로 갈까?"], ("안녕", "어디로 갈까?")),
        (CHAT, ("Be kind.", "어디로 갈까?")),
        ({"messages": CHAT, "model": "m"}, ("Be kind.", "어디로 갈까?")),
        ({"context": ["안녕"], "prompt": "어디로 갈까?", "user": "kim"}, ("안녕", "어디로 갈까?")),
        ({"question": "어디로 갈까?", "top_k": 3}, ("어디로 갈까?",)),
    ],
)
def test_what_was_asked_is_the_context(inputs, context):
    assert texts_of(inputs, "바다요.").context == context


@pytest.mark.parametrize(
    "outputs",
    [
        "바다요.",
        {"response": "바다요.", "model": "m"},
        {"answer": "바다요.", "seconds": 3},
        {"content": "바다요.", "role": "assistant", "id": "1"},
        {"choices": [{"message": PARTS, "finish_reason": "stop"}]},
        {"messages": [*CHAT, PARTS]},
        [*CHAT, PARTS],
    ],
)
def test_the_last_answer_is_the_response(outputs):
    assert texts_of(CHAT, outputs) == (("Be kind.", "어디로 갈까?"), "바다요.", "어디로 갈까?")


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        ({"a": "x", "b": "y"}, "z", "inputs must have context, prompt, messages, conversations, or one field that is"),
        ("x", {"a": "y", "b": "z"}, "outputs must have response, choices, messages or content, or one field that is a"),
        ("x", {"a": 3}, "text; got a$"),
        ("x", None, "outputs must be"),
        ("x", " ", "response must not be empty"),
        ("x", {"choices": []}, "choices must be a list of objects"),
        ({"messages": 3}, "z", "^messages must be a list of turns or one text, got 3"),
        ({"context": [3]}, "z", r"^context\[0\] must be text, got 3"),
    ],
)
def test_what_cannot_be_read_is_one_line(inputs, outputs, told):
    with pytest.raises(ValueError, match=told):
        texts_of(inputs, outputs)


class Experiment:
    """An experiment of a real store, in which traces are logged and judged as a chatbot and people do it."""

    def __init__(self, folder):
        provide_store(folder)
        self.store = f"sqlite:///{folder}/mlflow.db"
        client = MlflowClient(self.store)
        self.id = client.create_experiment("support", artifact_location=(folder / "traces").as_uri())

    def data(self, **options):
        return VotesData("mlflow:support", store=self.store, **DEFAULTS | options)

    def answer(self, row):
        """Returns the trace's id."""
        inputs = {"messages": [{"role": "user", "content": turn} for turn in row["context"]]}
        with mlflow.start_span(
            "chat", trace_destination=mlflow.entities.trace_location.MlflowExperimentLocation(self.id)
        ) as span:
            span.set_inputs(inputs)
            span.set_outputs({"choices": [{"message": {"role": "assistant", "content": row["response"]}}]})
            mlflow.update_current_trace(
                tags={"domain": row["domain"]}, metadata={"mlflow.trace.session": row["conversation_id"]}
            )
        return span.trace_id

    def say(self, trace_id, criterion, annotator, value, kind="HUMAN", **more):
        source = AssessmentSource(source_type=kind, source_id=annotator)
        return mlflow.log_feedback(trace_id=trace_id, name=criterion, value=value, source=source, **more)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    found = Experiment(tmp_path)
    with as_tracking_uri(found.store):  # an environment variable would be read by the first trace only
        yield found


def responses():
    """Nine, of which kim, lee and, on the first, park say different things."""
    for number in range(9):
        votes = {"clear": {"kim": number % 2, "lee": 1}, "kind": {"kim": (number + 1) % 2}}
        if number == 0:
            votes["clear"]["park"] = 0
        yield {
            "domain": "travel" if number % 3 else "food",
            "conversation_id": f"c{number // 2}",
            "context": ["안녕", f"어디로 갈까 {number}?"],
            "response": f"바다요 {number}.",
            "votes": votes,
        }


def test_judged_traces_are_the_responses_and_votes_of_people(experiment, tmp_path):
    """What machines say, what was overridden and errors are not read; words mean what they mean elsewhere."""
    rows = list(responses())
    words = ["no", "yes"], [False, True], [0, 1], ["false", "TRUE"]
    for number, row in enumerate(rows):
        row["id"] = experiment.answer(row)
        for criterion, votes in row["votes"].items():
            for annotator, vote in votes.items():
                experiment.say(row["id"], criterion, annotator, words[number % 4][vote])
        experiment.say(row["id"], "clear", "gpt", "no", kind="LLM_JUDGE")
        experiment.say(row["id"], "length", "script", 17, kind="CODE")
    first = rows[0]["id"]
    wrong = experiment.say(first, "kind", "lee", "no")
    mlflow.override_feedback(trace_id=first, assessment_id=wrong.assessment_id, value="yes", source=wrong.source)
    rows[0]["votes"]["kind"]["lee"] = 1
    experiment.say(first, "kind", "choi", None, error=ValueError("no answer"))
    experiment.answer(rows[1])  # nobody has judged it
    plain = VotesData(write_rows(tmp_path / "plain.jsonl", rows), **DEFAULTS).load()
    data = experiment.data()
    found = data.load()
    for split in ("train", "valid", "test"):
        assert sorted(getattr(found, split), key=lambda item: item.id) == sorted(
            getattr(plain, split), key=lambda item: item.id
        )
    assert found.criteria == plain.criteria
    assert found.remarks[0].startswith("train: read as mlflow, traces of MLflow, one vote per feedback of a person")
    assert data.fingerprint() == experiment.data().fingerprint()
    experiment.say(first, "kind", "choi", "yes")
    assert data.fingerprint() != experiment.data().fingerprint()


def test_traces_in_a_file_are_read_alike(experiment, tmp_path):
    for row in responses():
        trace_id = experiment.answer(row)
        for criterion, votes in row["votes"].items():
            for annotator, vote in votes.items():
                experiment.say(trace_id, criterion, annotator, bool(vote))
    table = mlflow.search_traces(locations=[experiment.id])
    table.to_json(tmp_path / "traces.jsonl", orient="records", lines=True, force_ascii=False)
    stored, filed = experiment.data().load(), VotesData(tmp_path / "traces.jsonl", **DEFAULTS).load()
    assert len(stored.train) > 0
    for split in ("train", "valid", "test"):
        items = [{item.id: item for item in getattr(data, split)} for data in (stored, filed)]
        assert items[0] == items[1]


def test_what_is_wrong_with_traces_is_one_line(experiment, tmp_path):
    with pytest.raises(
        ValueError, match=r"^mlflow:suport: there is no experiment suport in sqlite:.*did you mean support"
    ):
        VotesData("mlflow:suport", store=experiment.store, **DEFAULTS).load()
    with pytest.raises(ValueError, match=r"^mlflow:support: no trace in sqlite:.* has feedback of people"):
        experiment.data().load()
    trace_id = experiment.answer(next(responses()))
    experiment.say(trace_id, "clear", "kim", "perhaps")
    with pytest.raises(
        ValueError, match=rf"^mlflow:support, trace {trace_id}: votes.clear: a vote must be .* got 'perhaps'"
    ):
        experiment.data().load()
    file = write_rows(tmp_path / "traces.jsonl", [{"trace_id": "tr-1", "response": "네", "assessments": [3]}])
    with pytest.raises(ValueError, match=r"traces.jsonl, line 1: assessments must be a list as MLflow writes it, got"):
        VotesData(file, **DEFAULTS).load()
    with pytest.raises(ValueError, match="^data.source.store: "):
        VotesData("mlflow:support", store="http://127.0.0.1:9", **DEFAULTS).load()
