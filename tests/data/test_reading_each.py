"""Responses read one after another, as a judge scores them: votes are optional, and nothing is kept."""

import json
from itertools import count, islice

import pytest

from contrastive_learning.data.reading import ROWS_LOOKED_AT, Reader, ReadingRules
from contrastive_learning.data.tables import Piped
from support.rows import write_rows

PLAIN = {"context": ["어디로 갈까?"], "response": "바다요."}


def each(table, criteria=("polite",), **rules):
    reader = Reader(
        ReadingRules(**{"format": "auto", "yes_from": None, "hash_annotators": False} | rules, criteria=criteria)
    )
    return list(reader.each("row", table)), reader


def test_rows_without_votes_are_responses(tmp_path):
    plain = {**PLAIN, "id": None, "rank": None}
    rows = [plain, {**PLAIN, "id": 7, "rank": 1}, plain]
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        responses, reader = each(write_rows(tmp_path / name, rows))
        assert [item.id.partition(":")[0] for item in responses] == ["row", "7", "row"]
        assert len({item.id for item in responses}) == 3
        assert {(item.context, item.response) for item in responses} == {(("어디로 갈까?",), "바다요.")}
        assert not any(item.votes for item in responses)
        assert "without votes" in reader.remarks()[0]


@pytest.mark.parametrize(
    "row",
    [
        {"votes": {"polite": [1, 0, 1], "other": [1]}},
        {"votes.polite": "1,0,1"},
        {"polite_yes_count": 2, "polite_no_count": 1},
        {"polite_1": "yes", "polite_2": "no", "polite_3": "yes"},
        {"polite": {"kim": 1, "lee": 0, "park": 1}},
    ],
)
def test_votes_are_read_in_each_form(tmp_path, row):
    unjudged = dict.fromkeys(row)
    responses, _ = each(write_rows(tmp_path / "a.jsonl", [PLAIN | row, PLAIN | unjudged, PLAIN | row]))
    assert [dict(item.votes) for item in responses] == [{"polite": (2, 3)}, {}, {"polite": (2, 3)}]


def test_rows_of_judgements_are_joined_also_those_on_other_criteria(tmp_path):
    said = [("a", "kim", "polite", 1), ("b", "kim", "other", 1), ("a", "lee", "polite", 0)]
    rows = [
        {**PLAIN, "id": id, "annotator": who, "criterion": criterion, "label": label}
        for id, who, criterion, label in said
    ]
    first, second = each(write_rows(tmp_path / "a.jsonl", rows))[0]
    assert (first.id, dict(first.votes), dict(first.judgements)) == (
        "a",
        {"polite": (1, 2)},
        {"polite": (("kim", True), ("lee", False))},
    )
    assert (second.id, dict(second.votes)) == ("b", {})


def test_a_bad_row_is_named_with_its_line(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [PLAIN, {**PLAIN, "response": " "}])
    with pytest.raises(ValueError, match="a.jsonl, line 2: response must not be empty"):
        each(path)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="must hold responses, got none"):
        each(tmp_path / "empty.jsonl")


def test_a_pipe_is_read_no_further_than_it_must():
    lines = (json.dumps({**PLAIN, "id": number, "votes": {"polite": [1]}}) + "\n" for number in count())
    reader = Reader(ReadingRules(format="auto", yes_from=None, hash_annotators=False, criteria=None))
    responses = list(islice(reader.each("row", Piped("standard input", lines)), ROWS_LOOKED_AT + 5))
    assert [item.id for item in responses] == [str(number) for number in range(ROWS_LOOKED_AT + 5)]
    assert json.loads(next(lines))["id"] == ROWS_LOOKED_AT + 5


def test_a_bad_line_of_a_pipe_is_named_without_reading_on():
    bad = [json.dumps(PLAIN | {"votes": {"polite": ["maybe"]}}), "{"]
    with pytest.raises(ValueError, match=r"^standard input, line 1: votes.polite: a vote must be .*got 'maybe'$"):
        list(Reader(ReadingRules("auto", None, False, None)).each("row", Piped("standard input", bad[:1])))
    with pytest.raises(ValueError, match="standard input, line 2: a line must be one JSON object"):
        each(Piped("standard input", [json.dumps(PLAIN), bad[1]]))
