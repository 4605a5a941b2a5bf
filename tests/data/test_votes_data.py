import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contrastive_learning.data import VotesData
from contrastive_learning.data.responses import RatedResponse, Splits, VoteCount
from contrastive_learning.data.tables import read_rows
from support.rows import SETTINGS, write_rows

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def source(path, **settings):
    return VotesData(path, **SETTINGS | settings)


def row(index, **fields):
    """Votes on `a` are mostly yes for odd rows, on `b` for even rows."""
    votes = {"a": [1, index % 2, 0], "b": ["Yes", "n", index % 2 == 0]}
    texts = {"context": [f"질문 {index}"], "response": f"답 {index}"}
    return {"id": f"r{index}", "domain": f"d{index % 2}", **texts, "votes": votes, **fields}


def everything(splits: Splits) -> dict[str, RatedResponse]:
    return {item.id: item for item in splits.train + splits.valid + splits.test + splits.test_ood}


def sizes(splits: Splits) -> list[int]:
    return [len(splits.train), len(splits.valid), len(splits.test), len(splits.test_ood)]


@pytest.fixture
def train(tmp_path):
    return write_rows(tmp_path / "train.jsonl", [row(index) for index in range(20)])


def test_rows_become_responses_with_counts(train):
    splits = source(train).load()
    assert splits.criteria == ("a", "b")
    assert sizes(splits) == [16, 2, 2, 0]
    item = everything(splits)["r3"]
    assert (item.domain, item.context, item.response) == ("d1", ("질문 3",), "답 3")
    assert item.votes == {"a": VoteCount(2, 3), "b": VoteCount(1, 3)}


def test_equal_votes_are_one_object(train):
    items = everything(source(train).load())
    assert items["r1"].votes is items["r3"].votes


def test_everything_but_response_and_votes_can_be_left_out(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [{"response": f"x{i}", "votes": {"a": [i % 2]}} for i in range(20)])
    splits = source(path).load()
    items = everything(splits)
    assert set(items) == {f"train:{line}" for line in range(1, 21)}
    assert all(item.domain == "default" and item.context == () and item.group == item.id for item in items.values())
    assert "train: no response has a context" in splits.remarks


def test_what_follows_one_question_stays_together(tmp_path):
    rows = [row(i, id=f"{i}.{k}", response=f"답 {k}", domain="d") for i in range(10) for k in range(4)]
    splits = source(write_rows(tmp_path / "x.jsonl", rows)).load()
    assert sizes(splits) == [32, 4, 4, 0]
    assert len({item.context for item in splits.valid}) == 1


@pytest.mark.parametrize("name", ["group", "conversation_id"])
def test_given_groups_stay_together(tmp_path, name):
    rows = [row(i, **{name: i // 4}) for i in range(40)]
    splits = source(write_rows(tmp_path / "x.jsonl", rows)).load()
    assert sizes(splits) == [32, 4, 4, 0]
    assert len({item.group for item in splits.test}) == 1


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ([1, 0, 1], (2, 3)),
        ([True, False], (1, 2)),
        (["yes", "NO", "Y", "n"], (2, 4)),
        ([1.0, 0.0], (1, 2)),
        ([1, None, float("nan")], (1, 1)),
        ("1,0,1", (2, 3)),
        ("yes|no|no", (1, 3)),
        ("[1 0 1]", (2, 3)),
        ("['yes', 'no']", (1, 2)),
        (1, (1, 1)),
        ([], None),
        (None, None),
        ("", None),
        (float("nan"), None),
    ],
)
def test_notations_of_votes(tmp_path, notation, expected):
    rows = [row(i) for i in range(10)] + [row(99, votes={"a": [1], "b": notation})]
    item = everything(source(write_rows(tmp_path / "x.jsonl", rows)).load())["r99"]
    assert item.votes.get("b") == expected


def test_all_forms_of_a_table_mean_the_same(tmp_path, train):
    rows = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines()]
    texts = [{key: item[key] for key in ("id", "domain", "response")} for item in rows]
    context = [json.dumps(item["context"], ensure_ascii=False) for item in rows]
    lists = [[[int(vote in (1, "Yes", True)) for vote in item["votes"][name]] for name in "ab"] for item in rows]
    votes = [dict(zip("ab", pair, strict=True)) for pair in lists]
    columns = [{f"votes.{name}": value for name, value in item.items()} for item in votes]
    written = [{name: ",".join(map(str, value)) for name, value in item.items()} for item in columns]
    counts = [
        {
            f"{name}_{answer}_count": value.count(vote)
            for name, value in item.items()
            for answer, vote in (("yes", 1), ("no", 0))
        }
        for item in votes
    ]
    tables = {
        "json.csv": [t | {"context": c, "votes": json.dumps(v)} for t, c, v in zip(texts, context, votes, strict=True)],
        "columns.csv": [t | {"context": c} | v for t, c, v in zip(texts, context, written, strict=True)],
        "counts.csv": [t | {"context": c} | v for t, c, v in zip(texts, context, counts, strict=True)],
        "struct.parquet": [
            t | {"context": r["context"], "votes": v} for t, r, v in zip(texts, rows, votes, strict=True)
        ],
        "columns.parquet": [t | {"context": r["context"]} | v for t, r, v in zip(texts, rows, columns, strict=True)],
        "counts.parquet": [t | {"context": r["context"]} | v for t, r, v in zip(texts, rows, counts, strict=True)],
    }
    expected = source(train).load()
    for name, table in tables.items():
        path = tmp_path / name
        write_rows(path, table) if name.endswith(".csv") else pq.write_table(pa.Table.from_pylist(table), path)
        assert source(path).load() == expected, name


@pytest.mark.parametrize("start", ["", "\ufeff", "\n  "])
def test_an_array_means_the_same_as_its_elements_as_lines(tmp_path, train, start):
    rows = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "x.json"
    path.write_text(start + json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    assert source(path).load() == source(train).load()


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (row(2, response=3), "x.json, element 3 .the first is 1.: response must be text, got 3"),
        (row(2, votes={"a": [2]}), "x.json, element 3 .the first is 1.: votes.a: .*got 2"),
        (row(2, id="r0"), "x.json, element 3 .the first is 1.: id must be unique, got 'r0' also at .*, element 1 "),
        ([1], r"x.json, element 3 .the first is 1.: must be a JSON object, got \[1\]"),
    ],
)
def test_errors_name_the_element_of_an_array_and_the_field(tmp_path, element, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([row(0), row(1), element]), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        source(path).load()


def test_an_array_that_breaks_off_is_named_with_its_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([row(0), row(1)], indent=1)[:-2], encoding="utf-8")
    with pytest.raises(ValueError, match=r"x.json: must be one JSON array of objects, or .*: Expecting .* line \d+"):
        source(path).load()


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("orient", ["columns", "index", "split"])
def test_json_as_pandas_writes_it_by_default_is_refused_with_the_arguments(tmp_path, indent, orient):
    pd.DataFrame([row(0), row(1)]).to_json(tmp_path / "x.json", orient=orient, indent=indent)
    message = (
        r'x.json must be one JSON array .*, got a table as pandas writes it by default; .*orient="records", lines=True'
    )
    with pytest.raises(ValueError, match=message):
        source(tmp_path / "x.json").load()


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("around", "others"),
    [({}, ""), ({"version": 1, "columns": ["id"], "errors": []}, ", not version, columns, errors")],
)
def test_an_object_around_the_list_of_rows_means_the_same(tmp_path, train, around, others, indent):
    rows = [json.loads(line) for line in train.read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({**around, "data": rows}, indent=indent), encoding="utf-8")
    splits = source(path).load()
    assert splits.remarks.pop(0) == f"x.json: the rows are those of its list data{others}"
    assert splits == source(train).load()
    path.write_text(json.dumps({**around, "data": [*rows, row(2, response=3)]}, indent=indent), encoding="utf-8")
    with pytest.raises(ValueError, match=r"x.json, data, element 21 .the first is 1.: response must be text, got 3"):
        source(path).load()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": [row(0)], "b": [row(1)], "version": 1}, "one list must hold the rows, got a, b; write that of the "),
        ({"about": {"0": "x"}, "a": 1}, r"must be one JSON .* got one object without a list .*about: {'0'"),
        ({"columns": ["response"], "data": [["x"]]}, "must be one JSON .* got one object without a list of objects"),
    ],
)
def test_an_object_that_is_not_around_one_list_of_rows_is_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        source(path).load()
    assert "\n" not in str(error.value)


def test_one_row_with_a_chat_is_no_object_around_rows(tmp_path):
    chat = [{"role": "user", "content": "뭐 해?"}, {"role": "assistant", "content": "쉬어."}]
    path = write_rows(tmp_path / "x.jsonl", [{"messages": chat, "votes": {"a": 1}}])
    assert [item["messages"] for _, item in read_rows(path)] == [chat]


def test_parquet_map_and_gaps(tmp_path):
    votes = [[("a", [i % 2, 1, 0]), ("b", None if i else [])] for i in range(20)]
    kind = pa.map_(pa.string(), pa.list_(pa.int8()))
    ids = pa.array([None, *map(float, range(1, 20))])  # what pandas makes of whole numbers with a gap
    table = pa.table({"id": ids, "response": [f"x{i}" for i in range(20)], "votes": pa.array(votes, kind)})
    pq.write_table(table, tmp_path / "x.parquet")
    splits = source(tmp_path / "x.parquet", criteria=["a"]).load()
    assert {"train:1", "7"} <= set(everything(splits))


def test_names_that_look_like_numbers_are_names(tmp_path):
    rows = [row(i, domain=2024 + i % 2, votes={"1": [i // 2 % 2], "2": [1, 0]}) for i in range(40)]
    splits = source(write_rows(tmp_path / "x.jsonl", rows), criteria=[1], held_out_domains=[2024]).load()
    assert splits.criteria == ("1",)
    assert {item.domain for item in splits.test_ood} == {"2024"}
    assert {name for item in splits.train for name in item.votes} == {"1"}
    votes = pa.array([[(1, [i // 2 % 2])] for i in range(40)], pa.map_(pa.int64(), pa.list_(pa.int8())))
    domains = [1.5 + i % 2 for i in range(40)]
    table = pa.table({"response": [f"x{i}" for i in range(40)], "domain": domains, "votes": votes})
    pq.write_table(table, tmp_path / "x.parquet")
    splits = source(tmp_path / "x.parquet", criteria=[1], held_out_domains=[1.5]).load()
    assert (splits.criteria, len(splits.test_ood)) == (("1",), 20)


def test_a_criterion_that_is_not_there_is_named(train):
    with pytest.raises(ValueError, match=r"a name in data.source.criteria must be one of a, b; got 1"):
        source(train, criteria=[1]).load()
    with pytest.raises(ValueError, match=r"data.source.criteria must be a list of different names .*, got 1"):
        source(train, criteria=1)


def test_text_in_a_csv_context_is_one_turn(tmp_path):
    turns = ["[웃음] 안녕, 뭐 해?", '["a", "b"]', "['a', 'b']", ""]
    rows = [{"id": i, "response": f"x{i}", "context": turns[i % 4], "votes.a": i % 3 % 2} for i in range(40)]
    items = everything(source(write_rows(tmp_path / "x.csv", rows)).load())
    assert [items[str(i)].context for i in range(4)] == [("[웃음] 안녕, 뭐 해?",), ("a", "b"), ("a", "b"), ()]


def test_a_folder_gives_its_splits_and_names_what_it_does_not_read(tmp_path, train):
    write_rows(tmp_path / "valid.jsonl", [row(i) for i in range(100, 104)])
    write_rows(
        tmp_path / "test_ood.csv",
        [{"response": f"x{i}", "domain": "new", "votes.a": i % 2, "votes.b": 1} for i in range(4)],
    )
    write_rows(tmp_path / "devel.jsonl", [])
    splits = source(tmp_path).load()
    assert sizes(splits) == [18, 4, 2, 4]
    known = "only train, valid, test, test_ood are; validation, val, dev and eval mean valid"
    assert f"not read: devel.jsonl ({known})" in splits.remarks


def test_given_paths_and_held_out_domains_add_up(tmp_path, train):
    ood = write_rows(tmp_path / "elsewhere.jsonl", [row(i, domain="new") for i in range(100, 104)])
    splits = source(train, test_ood_path=ood, held_out_domains=["d1"]).load()
    assert {item.domain for item in splits.test_ood} == {"d1", "new"}
    assert {item.domain for item in splits.train + splits.valid + splits.test} == {"d0"}
    assert len(splits.test_ood) == 14


def test_repeats_of_held_out_responses_leave_train(tmp_path, train):
    write_rows(tmp_path / "valid.jsonl", [row(1, id="again"), row(100)])
    write_rows(tmp_path / "test.jsonl", [row(200, group="g")])
    write_rows(train, [row(i) for i in range(20)] + [row(300, group="g")])
    splits = source(tmp_path).load()
    assert sizes(splits) == [19, 2, 1, 0]
    for what, example in (("conversation", "r300"), ("context and response", "r1")):
        remark = f"train: 1 responses left out: the same {what} is in valid or test too, such as {example}"
        assert remark in splits.remarks


def test_only_chosen_criteria_are_read(tmp_path):
    rows = [row(i, votes={"stars": [5, 4], "b": [i % 2], "a": [1 - i % 2]}) for i in range(20)]
    rows += [row(99, votes={"stars": [1]})]
    splits = source(write_rows(tmp_path / "x.jsonl", rows), criteria=["a", "b"]).load()
    assert splits.criteria == ("a", "b")
    assert "train: 1 responses without votes, such as r99" in splits.remarks
    assert [item.id for item in splits.unjudged] == ["r99"]
    assert set(splits.train[0].votes) == {"a", "b"}


def test_responses_without_votes_are_kept_apart(tmp_path):
    """Those of train, and those of a file of their own, in any form; its votes are not read."""
    rows = [row(index) for index in range(20)] + [row(20, votes={}), row(21, votes={"a": [], "b": None})]
    rows += [{"response": "답 22"}]
    path = write_rows(tmp_path / "train.jsonl", rows)
    more = write_rows(tmp_path / "more.jsonl", [{"prompt": "질문 30", "response": "답 30"}, row(31)])
    valid = write_rows(tmp_path / "valid.jsonl", [row(index) for index in range(40, 50)] + [row(50, votes={})])
    splits = source(path, valid_path=valid, unjudged_path=more).load()
    assert [item.id for item in splits.unjudged] == ["r20", "r21", "train:23", "unjudged:1", "r31"]
    assert [item.context for item in splits.unjudged][3:] == [("질문 30",), ("질문 31",)]
    assert not any(item.votes for item in splits.unjudged)
    assert not {item.id for item in splits.unjudged} & everything(splits).keys()
    assert splits.rows == {"train": 23, "valid": 11, "unjudged": 2}
    assert "train: 3 responses without votes, such as r20" in splits.remarks
    assert "valid: 1 responses left out: no votes, such as r50" in splits.remarks


def test_unjudged_responses_show_training_nothing_of_a_held_out_split(tmp_path):
    path = write_rows(tmp_path / "train.jsonl", [row(index, domain="d") for index in range(20)])
    valid = write_rows(tmp_path / "valid.jsonl", [row(index, domain="d", group="v") for index in range(40, 50)])
    other = write_rows(tmp_path / "ood.jsonl", [row(index, domain="new") for index in range(60, 70)])
    rows = [row(1, id="a"), row(41, id="b"), row(80, id="c", domain="new"), row(81, id="d", group="v")]
    rows += [row(82, id="e"), row(82, id="f")]
    more = write_rows(tmp_path / "more.jsonl", rows)
    splits = source(path, valid_path=valid, test_ood_path=other, test_fraction=0, unjudged_path=more).load()
    assert [item.id for item in splits.unjudged] == ["e"]
    assert splits.remarks[-3:] == [
        "unjudged: 3 responses left out: another one has the same context and response, such as a",
        "unjudged: 1 responses left out: only test_ood has their domain, such as c",
        "unjudged: 1 responses left out: their conversation is in valid, test or test_ood, such as d",
    ]


def test_a_file_of_unjudged_responses_is_part_of_the_data(tmp_path, train):
    more = write_rows(tmp_path / "more.jsonl", [{"response": "답"}])
    assert source(train, unjudged_path=more).fingerprint() != source(train).fingerprint()
    with pytest.raises(ValueError, match=r"^data.unjudged must end in"):
        source(train, unjudged_path=write_rows(tmp_path / "x.jsonl", []).rename(tmp_path / "x.doc")).load()
    with pytest.raises(ValueError, match="every split must have its own file"):
        source(train, unjudged_path=train).load()


def test_byte_order_mark_blank_lines_and_crlf_are_fine(tmp_path, train):
    expected = source(train).load()
    train.write_bytes(b"\xef\xbb\xbf" + train.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert source(train).load() == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{bad", "a line must be one JSON object, got '{bad'"),
        ("[1]", r"a line must be one JSON object, got \[1\]"),
        (
            {"votes": {"a": [1]}, "respnse": "x"},
            "response is missing; the row has votes, respnse .did you mean respnse",
        ),
        ({"response": "x", "vote": {"a": [1]}}, "votes is missing; the row has response, vote .did you mean vote"),
        ({"response": " ", "votes": {"a": [1]}}, "response must not be empty, got ' '"),
        ({"response": 3, "votes": {"a": [1]}}, "response must be text, got 3"),
        (r'{"response": "\ud83d", "votes": {"a": [1]}}', "response must be valid Unicode, got half a surrogate"),
        ({"response": "x", "votes": {"a": [1, 2]}}, "votes.a: a vote must be 1/0, .*, got 2"),
        ({"response": "x", "votes": {"a": ["maybe"]}}, "votes.a: a vote must be .*, got 'maybe'"),
        ({"response": "x", "votes": {"a": [[1]]}}, "votes.a: a vote must be .*, got "),
        ({"response": "x", "votes": [1, 0]}, "votes must be {criterion: "),
        ({"response": "x", "votes": {"a(b)": [1]}}, "a criterion must be made of letters, .*got 'a.b.'"),
        ({"response": "x", "votes": {"a": [1]}, "context": ["q", {"role": "user"}]}, r"context\[1\] must be text"),
        ({"response": "x", "votes": {"a": [1]}, "context": 3}, "context must be a list of turns or one text, got 3"),
        ({"response": "x", "votes": {"a": [1]}, "id": "r0"}, "id must be unique, got 'r0' also at .*, line 1"),
        ({"response": "x", "votes": {"a": [1]}, "id": [1]}, r"id must be text, got \[1\]"),
    ],
)
def test_a_bad_row_is_named_on_one_line(tmp_path, line, message):
    line = line if isinstance(line, str) else json.dumps(line)
    path = tmp_path / "x.jsonl"
    path.write_text(f"{json.dumps(row(0))}\n\n{line}\n{json.dumps(row(1))}", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"x.jsonl, line 3: {message}") as error:
        source(path).load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold responses with votes, got none"),
        ("response,votes.a,id,id\n", "line 1: a column must have its own name, got 'id' twice"),
        ("response,votes.a\nx\n", "line 2: a row must have 2 fields, as the header, got 1"),
        ('response,votes.a\nx,1\n"y,1\nz,0\n', "line 4: not valid CSV: unexpected end of data"),
        ("response,a_yes_count\nx,1\n", "line 2: a_no_count is missing; a_yes_count needs it"),
        (
            "response,a_yes_count,a_no_count\nx,1.5,1\n",
            "line 2: votes.a: the yes count must be a whole number, got '1.5'",
        ),
        ("response,a_yes_count,a_no_count\nx,1,\n", "line 2: votes.a: the no count must be a whole number, got ''"),
        ("response,votes.a,a_yes_count,a_no_count\nx,1,1,0\n", "line 2: votes on a criterion must be in one place"),
        ("response,votes\nx,good\n", "line 2: votes must be {criterion: "),
        ('response,votes.a,context\nx,1,"[""a"", b]"\n', "line 2: context must be a list of turns or one text"),
    ],
)
def test_a_bad_csv_is_named_on_one_line(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        source(path).load()


def test_a_missing_path_names_its_nearest_neighbour(tmp_path, train):
    with pytest.raises(
        ValueError, match=r"data.path must exist, .*no trian.jsonl in .* \(did you mean train.jsonl\?\)"
    ):
        source(tmp_path / "trian.jsonl").load()
    with pytest.raises(ValueError, match="data.source.valid_path must exist, got nowhere"):
        source(train, valid_path="nowhere").fingerprint()


def test_an_unreadable_file_is_refused(tmp_path, train):
    (tmp_path / "x.xls").touch()
    with pytest.raises(ValueError, match=r"data.path must end in .jsonl, .json, .ndjson, .csv, .*.xlsx; got .*x.xls"):
        source(tmp_path / "x.xls").load()
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="x.parquet: not a readable Parquet file"):
        source(tmp_path / "x.parquet").load()
    with pytest.raises(ValueError, match="every split must have its own file"):
        source(train, valid_path=train).load()


def test_an_ambiguous_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold train with one of .*; got nothing"):
        source(tmp_path).load()
    (tmp_path / "train.csv").touch()
    (tmp_path / "train.jsonl").touch()
    with pytest.raises(ValueError, match=r"must hold one candidate for train, got train.csv and train.jsonl"):
        source(tmp_path).load()


def test_a_criterion_that_train_lacks_is_refused(tmp_path, train):
    write_rows(tmp_path / "valid.jsonl", [row(100, votes={"a": [1], "bb": [0]})])
    with pytest.raises(
        ValueError, match=r"valid.jsonl, line 1: votes.bb: train has no such criterion \(did you mean b\?\)"
    ):
        source(tmp_path).load()
    assert source(tmp_path, criteria=["a"]).load().criteria == ("a",)


def test_fingerprint_follows_content_and_settings_but_not_the_folder(tmp_path, train):
    first = source(train).fingerprint()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copy = elsewhere / "train.jsonl"
    copy.write_bytes(train.read_bytes())
    assert source(copy).fingerprint() == first == source(elsewhere).fingerprint()
    assert source(train, split_seed=1).fingerprint() != first
    assert source(train, criteria=["a"]).fingerprint() != first
    write_rows(elsewhere / "valid.jsonl", [row(100)])
    assert source(elsewhere).fingerprint() != first
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert source(copy).fingerprint() != first


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared/data")
@pytest.mark.parametrize("name", ["convabuse", "expl_quality", "klue_nli", "kosbi", "square_ood", "square_ood_en"])
def test_shared_sets_load_whole(name):
    splits = source(SHARED / name).load()
    files = [SHARED / name / f"{split}.jsonl" for split in ("train", "valid", "test", "test_ood")]
    assert sizes(splits) == [len(file.read_text(encoding="utf-8").splitlines()) for file in files]
