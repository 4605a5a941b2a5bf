"""Traces of MLflow: what a chatbot was asked and answered, and how people judged that."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from contrastive_learning.choices import did_you_mean
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.rows import Row, is_missing, shown
from contrastive_learning.data.tables import Traces
from contrastive_learning.data.texts import CHATS, TextColumns, Texts, listed, message
from contrastive_learning.data.vote_counts import Judgement
from mlflow_stores import absolute, check_store, redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Assessment, Trace

IN_STORE = "mlflow:"  # before the name of an experiment, as a path
ASKED = ("context", "prompt", *CHATS)  # fields of inputs
SESSION = "mlflow.trace.session"  # in the metadata of a trace: the conversation that it belongs to
KEYS = {"assessment_name", "source"}  # of an assessment
PAGE = 500  # the most traces that a store returns at a time


def traces_in(address: str, store: str) -> Traces:
    """The traces of the experiment mlflow:NAME that people have judged. store: its address.

    The rows are as in `mlflow.search_traces`, with the columns that `trace_row` reads. Raises ValueError if there is no
    such experiment, or nobody has judged.
    """
    name, uri = address.removeprefix(IN_STORE), absolute(store)
    check_store(uri, name, option="data.source.store")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        names = sorted(found.name for found in client.search_experiments())
        raise ValueError(f"{address}: there is no experiment {name} in {redact(uri)}{did_you_mean(name, names)}")
    try:
        rows = [_row(client.get_trace(trace_id)) for trace_id in _judged(client, experiment.experiment_id)]
    except MlflowException as error:
        raise ValueError(redact(f"{address} cannot be read from {uri}: {' '.join(error.message.split())}")) from error
    if not rows:
        raise ValueError(f"{address}: no trace in {redact(uri)} has feedback of people (source_type HUMAN)")
    return Traces(address, rows)


def _judged(client: "MlflowClient", experiment_id: str) -> Iterator[str]:
    """The ids of the traces with feedback of people, oldest first."""
    token = None
    while True:
        page = client.search_traces(
            locations=[experiment_id],
            max_results=PAGE,
            order_by=["timestamp_ms ASC"],
            page_token=token,
            include_spans=False,
        )
        for trace in page:
            if any(_is_of_a_person(each.to_dictionary()) for each in trace.info.assessments):
                yield trace.info.trace_id
        token = page.token
        if not token:
            return


def _row(trace: "Trace") -> Row:
    def when(assessment: "Assessment") -> int:
        return assessment.create_time_ms or 0

    inputs, outputs = (None if text is None else json.loads(text) for text in (trace.data.request, trace.data.response))
    return {
        "trace_id": trace.info.trace_id,
        "request": inputs,
        "response": outputs,
        "trace_metadata": dict(trace.info.trace_metadata),
        "tags": dict(trace.info.tags),
        "assessments": [each.to_dictionary() for each in sorted(trace.info.assessments, key=when)],
    }


def trace_row(row: Row, notes: Notes) -> Row:
    """Texts, and the judgements of people: the name of a feedback is the criterion, its source's id the annotator.

    Feedback that was overridden, is no longer valid, or is an error is left out; so is that of machines. The session is
    the conversation, the tag `domain` the domain.
    """
    metadata, tags = (row[name] if isinstance(row.get(name), dict) else {} for name in ("trace_metadata", "tags"))
    votes = [
        Judgement(said["assessment_name"], _annotator(said["source"]), said["feedback"].get("value"))
        for said in _assessments(row)
        if _is_of_a_person(said)
    ]
    about = {"id": row.get("trace_id"), "conversation_id": metadata.get(SESSION), "domain": tags.get("domain")}
    return about | _texts(row.get("request"), row.get("response")) | {"votes": votes}


def _assessments(row: Row) -> list[Mapping[str, Any]]:
    given = row.get("assessments")
    found = [] if is_missing(given) else given
    if not isinstance(found, list) or not all(isinstance(each, dict) and each.keys() >= KEYS for each in found):
        raise ValueError(f"assessments must be a list as MLflow writes it, got {shown(given)}")
    return found


def _is_of_a_person(assessment: Mapping[str, Any]) -> bool:
    """Whether it is a person's feedback that still holds."""
    return (
        "feedback" in assessment
        and "error" not in assessment["feedback"]
        and assessment["source"]["source_type"] == "HUMAN"
        and bool(assessment.get("valid", True))
    )


def _annotator(source: Mapping[str, Any]) -> str | None:
    """None if nobody is named: MLflow then calls them all "default"."""
    name = source.get("source_id")
    return None if name in (None, "", "default") else str(name)


def texts_of(inputs: Any, outputs: Any) -> Texts:
    """Context and response.

    inputs: messages, or a text; or an object with `messages`, `context` or `prompt`, or with one field that is a text.
    outputs: a text, a message, or messages, the last of which is the response; or an object with `response`,
    `messages`, `choices` (as OpenAI answers), or with one field that is a text.

    Raises ValueError for anything else, and for an empty response.

    >>> texts_of({"messages": [{"role": "user", "content": "어디로 갈까?"}]}, {"response": "바다요."})
    Texts(context=('어디로 갈까?',), response='바다요.', opening='어디로 갈까?')
    """
    row = _texts(inputs, outputs)
    return TextColumns(row).read(row, Notes(""))


def _texts(inputs: Any, outputs: Any) -> dict[str, Any]:
    return {"context": _asked(inputs), "response": _answered(outputs)}


def _asked(inputs: Any) -> Any:
    """Turns or messages, oldest first."""
    if not isinstance(inputs, Mapping):
        return inputs
    said: list[Any] = []
    for name in ASKED:
        turns = [] if is_missing(inputs.get(name)) else listed(inputs[name])
        if not isinstance(turns, list):
            raise ValueError(f"{name} must be a list of turns or one text, got {shown(turns)}")
        said += turns
    if not said and inputs and not set(ASKED) & inputs.keys():
        return [_only_text(inputs, f"inputs must have {', '.join(ASKED)}")]
    return said


def _answered(outputs: Any) -> str:
    if isinstance(outputs, list):
        return _answered(_last(outputs, "outputs"))
    if isinstance(outputs, Mapping):
        if "response" in outputs:
            return _answered(outputs["response"])
        if "choices" in outputs:
            return _answered(_last(outputs["choices"], "choices").get("message"))
        chat = next((name for name in CHATS if name in outputs), None)
        if chat is not None:
            return _answered(_last(outputs[chat], chat))
        if not {"content", "value"} & outputs.keys():
            return _only_text(outputs, "outputs must have response, choices, messages or content")
    return message(outputs, "outputs")


def _last(values: Any, name: str) -> Mapping[str, Any]:
    if not (isinstance(values, list) and values and isinstance(values[-1], Mapping)):
        raise ValueError(f"{name} must be a list of objects, got {shown(values)}")
    last: Mapping[str, Any] = values[-1]
    return last


def _only_text(fields: Mapping[str, Any], needed: str) -> str:
    texts = [value for value in fields.values() if isinstance(value, str)]
    if len(texts) != 1:
        raise ValueError(f"{needed}, or one field that is a text; got {', '.join(map(str, fields)) or 'none'}")
    return texts[0]
