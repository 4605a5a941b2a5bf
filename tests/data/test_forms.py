"""Every form of judged data gives the responses that the plain form gives."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contrastive_learning.data.reading import Reader, ReadingRules
from contrastive_learning.data.responses import VoteCount

RULES = ReadingRules(format="auto", yes_from=None, hash_annotators=False, criteria=None)
SETTINGS = {
    "valid_path": None,
    "test_path": None,
    "test_ood_path": None,
    "criteria": None,
    "valid_fraction": 0.1,
    "test_fraction": 0.1,
    "held_out_domains": [],
    "split_seed": 0,
}
PEOPLE = ("kim", "lee", "박")


def judged(index, votes=None):
    """One response and, per criterion, who said what."""
    votes = votes or {
        "consistency": {"kim": 1, "lee": index % 2, "박": 0},
        "specificity": {"kim": (index + 1) % 2, "lee": 1},
    }
    texts = {"context": [f"질문 {index}", "네?"], "response": f"답, {index}"}
    return {"id": f"r{index}", "domain": f"d{index % 2}", **texts, "votes": votes}


DATA = [judged(index) for index in range(12)]


def texts(row):
    return {name: row[name] for name in ("id", "domain", "context", "response")}


def everyone(row):
    return [(criterion, who, vote) for criterion, votes in row["votes"].items() for who, vote in votes.items()]


def lists(row):
    return {criterion: list(votes.values()) for criterion, votes in row["votes"].items()}


def plain(rows):
    return [texts(row) | {"votes": lists(row)} for row in rows]


def long(rows):
    columns = ("criterion", "annotator", "label")
    return [texts(row) | dict(zip(columns, said, strict=True)) for row in rows for said in everyone(row)]


def wide(rows):
    people = [(row, who) for row in rows for who in PEOPLE]
    return [
        texts(row) | {"annotator": who} | {name: votes[who] for name, votes in row["votes"].items() if who in votes}
        for row, who in people
    ]


def wide_in_votes(rows):
    return [
        {
            **texts(row),
            "annotator": who,
            "votes": {name: cell[who] for name, cell in row["votes"].items() if who in cell},
        }
        for row in rows
        for who in PEOPLE
    ]


def annotator_columns(rows):
    return [
        texts(row)
        | {
            f"{name}_{number}": votes.get(who)
            for name, votes in row["votes"].items()
            for number, who in enumerate(PEOPLE)
        }
        for row in rows
    ]


def by_annotator(rows):
    return [texts(row) | {"votes": row["votes"]} for row in rows]


def shares(rows):
    """With the two digits that a person would write."""
    return [
        texts(row)
        | {f"{name}_share": round(sum(votes.values()) / len(votes), 2) for name, votes in row["votes"].items() if votes}
        | {f"{name}_num_votes": len(votes) for name, votes in row["votes"].items()}
        for row in rows
    ]


def shares_in_votes(rows):
    return [
        texts(row)
        | {"votes": {name: sum(votes.values()) / len(votes) for name, votes in row["votes"].items() if votes}}
        | {"num_votes": {name: len(votes) for name, votes in row["votes"].items()}}
        for row in rows
    ]


def label_studio(rows):
    def result(name, vote):
        choice = {"choices": ["yes" if vote else "no"]}
        return {"from_name": name, "to_name": "response", "type": "choices", "value": choice}

    return [
        {
            "id": number,
            "data": texts(row),
            "annotations": [
                {
                    "completed_by": who,
                    "result": [result(name, cell[who]) for name, cell in row["votes"].items() if who in cell],
                }
                for who in PEOPLE
            ],
            "predictions": [],
        }
        for number, row in enumerate(rows)
    ]


def argilla_records(rows):
    def responses(votes):
        return [
            {"user_id": who, "value": "yes" if vote else "no", "status": "submitted"} for who, vote in votes.items()
        ]

    return [
        {
            "id": row["id"],
            "fields": {"context": row["context"], "response": row["response"]},
            "metadata": {"domain": row["domain"]},
            "responses": {name: responses(votes) for name, votes in row["votes"].items()},
        }
        for row in rows
    ]


def argilla_server_records(rows):
    """One list entry per user, as the server has them and as version 1 wrote them."""
    return [
        {
            "id": row["id"],
            "fields": {"context": row["context"], "response": row["response"]},
            "metadata": {"domain": row["domain"]},
            "responses": [
                {
                    "user_id": who,
                    "status": "submitted",
                    "values": {name: {"value": votes[who]} for name, votes in row["votes"].items() if who in votes},
                }
                for who in PEOPLE
            ],
        }
        for row in rows
    ]


def argilla_columns(rows):
    def columns(name, votes):
        yield f"{name}.responses", ["yes" if vote else "no" for vote in votes.values()]
        yield f"{name}.responses.users", list(votes)
        yield f"{name}.responses.status", ["submitted"] * len(votes)

    return [texts(row) | dict(pair for item in row["votes"].items() for pair in columns(*item)) for row in rows]


def argilla_one(rows):
    """The columns that version 1 wrote to the hub."""

    def answers(votes):
        return [
            {"user_id": who, "value": "yes" if vote else "no", "status": "submitted"} for who, vote in votes.items()
        ]

    return [texts(row) | {name: answers(votes) for name, votes in row["votes"].items()} for row in rows]


def chat(rows):
    """Messages in place of context and response."""

    def messages(row):
        said = [{"role": "user", "content": turn} for turn in row["context"]]
        return [*said, {"role": "assistant", "content": row["response"]}]

    return [{"id": row["id"], "domain": row["domain"], "messages": messages(row), "votes": lists(row)} for row in rows]


FORMS = {
    "responses": (plain, chat),
    "judgements": (long, wide, wide_in_votes),
    "annotator_columns": (annotator_columns,),
    "by_annotator": (by_annotator,),
    "shares": (shares, shares_in_votes),
    "label_studio": (label_studio,),
    "argilla": (argilla_records, argilla_server_records, argilla_columns, argilla_one),
}
CASES = [(name, form) for name, forms in FORMS.items() for form in forms]


def write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, dict.fromkeys(name for row in rows for name in row))
            writer.writeheader()
            writer.writerows({name: written(cell) for name, cell in row.items()} for row in rows)
    return path


def written(cell):
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, list | dict) else cell


def read(path, rows, **rules):
    """The responses of a file with these rows, and the remarks."""
    reader = Reader(ReadingRules(**{name: getattr(RULES, name) for name in RULES.__slots__} | rules))
    responses = reader.read("train", write(path, rows))
    return responses, reader.remarks()


@pytest.fixture
def expected(tmp_path):
    return read(tmp_path / "plain.jsonl", plain(DATA))[0]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
@pytest.mark.parametrize(("name", "form"), CASES, ids=[form.__name__ for _, form in CASES])
def test_a_form_gives_the_responses_of_the_plain_form(tmp_path, expected, name, form, ending):
    responses, remarks = read(tmp_path / f"x{ending}", form(DATA))
    assert responses == expected
    assert remarks[0].startswith(f"train: read as {name}, ")
    assert [remark for remark in remarks[1:] if "not used" not in remark] == []
    assert read(tmp_path / f"x{ending}", form(DATA), format=name)[0] == expected


def votes_of_a_response():
    cells = st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 1), min_size=1)
    return st.fixed_dictionaries({"consistency": cells, "no_harm": cells})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(votes=st.lists(votes_of_a_response(), min_size=1, max_size=8))
def test_random_votes_are_read_the_same_in_every_form(tmp_path, votes):
    rows = [judged(index, said) for index, said in enumerate(votes)]
    expected, _ = read(tmp_path / "plain.jsonl", plain(rows))
    assert [item.votes for item in expected] == [
        {name: VoteCount(sum(cell.values()), len(cell)) for name, cell in said.items()} for said in votes
    ]
    for name, form in CASES:
        for ending in (".jsonl", ".csv"):
            assert read(tmp_path / f"x{ending}", form(rows), format=name)[0] == expected, (form, ending)
