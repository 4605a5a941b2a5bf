"""What the exports of Label Studio, Argilla and Prodigy say: texts in columns, the votes as judgements.

Label Studio: the JSON export, https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks.
Argilla: `records.to_json()`, and the columns of `records.to_datasets()`, those of version 1 too; without the `datasets`
library, a file that it writes is JSON, CSV or Parquet, in which a list of objects may be an object of lists.
Prodigy: `prodigy db-out`, https://prodi.gy/docs/api-interfaces, of yes/no tasks with a label, or of choices.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contrastive_learning.data.answers import Answers
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.rows import Row, field, is_missing, label, shown
from contrastive_learning.data.vote_counts import Judgement, parsed

CHOICES, USERS, STATUS = ".responses", ".responses.users", ".responses.status"
PRODIGY = ("answer", "label", "options", "accept", "config")
PRODIGY_ANSWERS: Mapping[Any, bool | None] = {"accept": True, "reject": False, "ignore": None}
LABEL_STUDIO_VALUES = ("choices", "rating", "number")


def label_studio_row(row: Row, notes: Notes) -> Row:
    """`data` and the judgements of the completed annotations, in the order in which they were given."""
    data = _object(field(row, "data"), "data")
    judgements: list[Judgement] = []
    for annotation in _list(_loaded(row.get("annotations")), "annotations"):
        if not isinstance(annotation, dict):
            raise ValueError(f"annotations must be objects, got {shown(annotation)}")
        if annotation.get("was_cancelled"):
            notes.add("annotations left out: cancelled (skipped by the annotator)", f"of task {row.get('id')}")
            continue
        annotator = _who(annotation.get("completed_by"))
        for result in _list(annotation.get("result"), "result"):
            judgements += _label_studio_judgement(result, annotator, notes)
    return {"id": row.get("id"), **data, "votes": judgements}


def _label_studio_judgement(result: Any, annotator: str | None, notes: Notes) -> Iterator[Judgement]:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict) or "from_name" not in result:
        raise ValueError(f"a result must have from_name and value, got {shown(result)}")
    kind = next((kind for kind in LABEL_STUDIO_VALUES if kind in value), None)
    if kind is None:
        notes.add("results left out: neither choices nor rating nor number", f"{result['from_name']}: {shown(value)}")
        return
    chosen = value[kind]
    yield Judgement(
        result["from_name"], annotator, chosen[0] if isinstance(chosen, list) and len(chosen) == 1 else chosen
    )


def prodigy_judgements(annotator: str | None, answers: Answers, row: Row) -> Iterator[Judgement]:
    """The judgements of one row, whose column `annotator` names who gave them.

    A task with a label is one, accepted or rejected. Of options, each that is ticked is a yes and each other one a no;
    if the options are themselves answers, such as yes and no, the ticked one is the answer to `choice`.
    """
    who = _who(row.get(annotator)) if annotator else None
    choices = _list(_loaded(row.get("options")), "options")
    if not choices:
        criterion = "accept" if is_missing(row.get("label")) else label(row["label"], "label")
        yield Judgement(criterion, who, PRODIGY_ANSWERS.get(row.get("answer"), row.get("answer")))
    elif row.get("answer") == "accept":
        options = [_object(option, "options").get("id") for option in choices]
        ticked = _list(_loaded(row.get("accept")), "accept")
        if all(map(answers.are, options)):
            yield from (Judgement("choice", who, option) for option in ticked)
        else:
            yield from (Judgement(label(option, "an option's id"), who, option in ticked) for option in options)


def argilla_row(row: Row, notes: Notes) -> Row:
    """Fields, metadata and the judgements that were submitted."""
    fields = _object(row.get("fields"), "fields")
    metadata = _object(row.get("metadata"), "metadata")
    plain = {name: value for name, value in row.items() if name not in ("fields", "metadata", "responses")}
    return metadata | plain | fields | {"votes": list(_submitted(row, notes))}


def argilla_columns(rows: Iterable[Row]) -> tuple[str, ...]:
    """The columns that hold the responses to questions, in `rows` of a dataset that Argilla has exported."""
    found: dict[str, None] = {}
    for row in rows:
        for name, value in row.items():
            if name.endswith((CHOICES, USERS, STATUS)) or _is_answered(value):
                found[name] = None
    return tuple(found)


def _submitted(row: Row, notes: Notes) -> Iterator[Judgement]:
    for question, annotator, answer, status in _responses(row):
        if status in (None, "submitted"):  # some exports know no status
            yield Judgement(question, _who(annotator), answer)
        else:
            notes.add(f"responses of annotators left out: {status}, not submitted", f"{question} of {row.get('id')}")


def _responses(row: Row) -> Iterator[tuple[str, Any, Any, Any]]:
    """Question, user, answer and status of each response, in any of the forms that Argilla writes."""
    given = _loaded(row.get("responses"))
    if isinstance(given, list):  # one object per user, as the server has them
        for response in given:
            for question, answer in _object(response.get("values"), "values").items():
                yield question, response.get("user_id"), _value(answer), response.get("status")
    elif isinstance(given, dict):  # one list per question
        for question, answers in given.items():
            yield from _of_question(question, answers)
    for name, value in row.items():
        if name.endswith(CHOICES):
            answers = _list(_loaded(value), name)
            users, statuses = (_list(_loaded(row.get(name + end)), name + end) for end in (".users", ".status"))
            for index, answer in enumerate(answers):
                yield name.removesuffix(CHOICES), _at(users, index), answer, _at(statuses, index)
        elif name != "responses" and _is_answered(value):
            yield from _of_question(name, _loaded(value))


def _of_question(question: str, answers: Any) -> Iterator[tuple[str, Any, Any, Any]]:
    if isinstance(answers, dict):  # an object of lists
        values = _list(answers.get("value"), question)
        answers = [{key: _at(cells, index) for key, cells in answers.items()} for index in range(len(values))]
    for answer in _list(answers, question):
        if not isinstance(answer, dict):
            raise ValueError(f"{question} must hold answers with user_id and value, got {shown(answer)}")
        yield question, answer.get("user_id"), answer.get("value"), answer.get("status")


def _is_answered(value: Any) -> bool:
    """Whether a cell holds the answers of users to a question."""
    if isinstance(value, str) and "user_id" in value:
        value = _loaded(value)
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and {"user_id", "value"} <= first.keys()


def _value(answer: Any) -> Any:
    return answer["value"] if isinstance(answer, dict) and "value" in answer else answer


def _loaded(value: Any) -> Any:
    return parsed(value) if isinstance(value, str) and value else value


def _object(value: Any, name: str) -> dict[str, Any]:
    value = _loaded(value)
    if is_missing(value):
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object, got {shown(value)}")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if is_missing(value):
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, got {shown(value)}")
    return value


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None


def _who(annotator: Any) -> str | None:
    if isinstance(annotator, dict):  # Label Studio can be asked to write users in full
        annotator = annotator.get("email") or annotator.get("username") or annotator.get("id")
    return None if is_missing(annotator) else label(annotator, "an annotator")
