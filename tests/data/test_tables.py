"""Every container of rows means the same as plain JSON Lines."""

import builtins
import csv
import gzip
import json
import random
import tracemalloc
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contrastive_learning.data import AIHubData, VotesData
from contrastive_learning.data.columnar import arrow_rows
from contrastive_learning.data.delimited import separator_of
from contrastive_learning.data.rows import composed
from contrastive_learning.data.tables import Shards, place, read_rows, table_remarks
from support.rows import SETTINGS, as_cell, as_jsonl, as_table, write_rows

KNOWN = "only train, valid, test, test_ood are; validation, val, dev and eval mean valid"


def load(path, **settings):
    return VotesData(path, **SETTINGS | settings).load()


def row(index):
    """Text that could lead a reader astray: separators, quotes, a line end."""
    context = [f"질문 {index}, 어때요; 네\t?", '그는 "응" | 했다\n끝']
    votes = {"친절": [1, index % 2, 0], "b": [0, index % 3 % 2]}
    return {
        "id": f"r{index}",
        "domain": f"d{index % 2}",
        "context": context,
        "response": f"답; {index}",
        "votes": votes,
    }


ROWS = [row(index) for index in range(30)]


TEXTS = {
    "lines.jsonl": as_jsonl(ROWS),
    "lines.ndjson": as_jsonl(ROWS),
    "array.json": json.dumps(ROWS, indent=1),
    "commas.csv": as_table(ROWS, ","),
    "semicolons.csv": as_table(ROWS, ";"),
    "tabs.csv": as_table(ROWS, "\t"),
    "bars.csv": as_table(ROWS, "|"),
    "tabs.tsv": as_table(ROWS, "\t"),
    "unicode.txt": as_table(ROWS, "\t"),
}


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text(as_jsonl(ROWS), encoding="utf-8")
    return load(path)


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_file_means_the_same_in_each_encoding_and_packed(tmp_path, plain, name, encoding, packed):
    content = TEXTS[name].encode(encoding)
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(gzip.compress(content) if packed else content)
    splits = load(path)
    is_guess = encoding == "cp949" and name != "array.json"  # which json.dumps has made ASCII
    assert (f"{path.name}: read as CP949, because it is not UTF-8" in splits.remarks) == is_guess
    splits.remarks[:] = [remark for remark in splits.remarks if "CP949" not in remark]
    assert splits == plain


def new_workbook():
    return pytest.importorskip("openpyxl", reason="needs the extra xlsx").Workbook()


def write_xlsx(path, rows):
    workbook = new_workbook()
    sheet = workbook.active
    sheet.append([*rows[0], None])
    for item in rows:
        sheet.append([as_cell(value) for value in item.values()])
        sheet.append([])
    workbook.create_sheet("notes")
    workbook.save(path)


def test_a_workbook_means_the_same_and_its_other_sheets_are_named(tmp_path, plain):
    write_xlsx(tmp_path / "x.xlsx", ROWS)
    splits = load(tmp_path / "x.xlsx")
    assert splits.remarks.pop(0) == "x.xlsx: only the sheet Sheet is read, not notes"
    assert splits == plain


def test_a_row_of_a_workbook_has_its_number_in_the_sheet(tmp_path):
    write_xlsx(tmp_path / "x.xlsx", [*ROWS[:3], ROWS[3] | {"response": " "}])
    with pytest.raises(ValueError, match="x.xlsx, row 8: response must not be empty"):
        load(tmp_path / "x.xlsx")


def test_a_value_without_a_column_is_refused(tmp_path):
    workbook = new_workbook()
    for values in (["response", "votes.a"], ["x", 1, None], ["y", 0, "stray"]):
        workbook.active.append(values)
    workbook.save(tmp_path / "x.xlsx")
    with pytest.raises(ValueError, match="x.xlsx, row 3: a value must have a column with a name, got 'stray'"):
        load(tmp_path / "x.xlsx")


def test_a_damaged_workbook_is_named(tmp_path):
    pytest.importorskip("openpyxl", reason="needs the extra xlsx")
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match="x.xlsx: not a readable .xlsx file: File is not a zip file"):
        load(tmp_path / "x.xlsx")


def test_a_workbook_without_openpyxl_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.xlsx").touch()
    real = builtins.__import__

    def absent(name, *rest):
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ValueError, match=r"x.xlsx: an .xlsx file needs openpyxl: pip install 'contrastive-quality"):
        load(tmp_path / "x.xlsx")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 456\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.arrow", b"ARROW1", "not a readable Arrow file"),
        ("x.arrow", b"hello", "not a readable Arrow file"),
        ("x.csv", POINTER, "is a Git LFS pointer, not the data: fetch them with git lfs pull"),
        ("x.parquet", POINTER, "is a Git LFS pointer, not the data"),
        ("x.csv.gz", b"response,votes.a\n", "must be a whole gzip file"),
        ("x.csv.gz", gzip.compress(b"response,votes.a\nx,1\n" * 50, mtime=0)[:-20], "must be a whole gzip file"),
        (
            "x.csv",
            b"\n <!DOCTYPE html>\n<html><title>Sign in, please</title>",
            "is a web page, not the data: a browser shows",
        ),
        ("x.jsonl", b"<HTML lang=ko>", "is a web page, not the data"),
        ("x.parquet", b"<html>", "is a web page, not the data"),
        ("x.csv", b"\xd0\xcf\x11\xe0\xa1", "is an old .xls or has a password: save it as .xlsx"),
        ("x.csv", b"PK\x03\x04\x14", "is a zip file or a workbook: unpack it, or let its name end in .xlsx"),
        ("x.jsonl", gzip.compress(b"{}", mtime=0), "is packed by gzip: let its name end in .gz too"),
        ("x.csv", b"PAR1\x15", "is a Parquet file: let its name end in .parquet"),
        ("x.csv", "response,a\n네,1\n".encode("utf-16-le"), "text must not hold NUL bytes; if it is UTF-16 without"),
        ("x.csv", b"\xff\xfex", "text must be whole UTF-16, as the mark at its start says"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}:? {message}") as error:
        load(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_an_encoding_is_not_guessed_beyond_cp949(tmp_path, name):
    (tmp_path / name).write_bytes('response,votes.a\n"caf\u00e9",1\n'.encode("latin-1"))
    message = rf"{name}, line 2: text must be UTF-8, got byte 0xe9 at byte 5; convert the file, for example: iconv -f "
    with pytest.raises(ValueError, match=message):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        ("response,a;b,votes\nx;y,1,0\n", ","),
        ("response;a,b;votes\n1,5;2,5;0\n", ";"),
        ("response\tvotes\na,b\t1\nc,d\t0\n", "\t"),
        ('a|b\n"open, until the end\n', "|"),
        ("response,votes.a\nx\n", ","),
    ],
)
def test_the_separator_is_what_makes_rows_as_long_as_the_header(tmp_path, content, separator):
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    assert separator_of(tmp_path / "x.csv") == separator


def test_blanks_around_the_names_of_columns_mean_nothing(tmp_path):
    (tmp_path / "x.csv").write_text("response , votes.a\n x,1\n", encoding="utf-8")
    assert list(read_rows(tmp_path / "x.csv")) == [(2, {"response": " x", "votes.a": "1"})]


def test_a_table_of_one_column_and_empty_rows_is_read(tmp_path):
    (tmp_path / "x.csv").write_text("response\na; b, c\n\nd, e\n,\n".replace("\n,\n", '\n""\n'), encoding="utf-8")
    assert list(read_rows(tmp_path / "x.csv")) == [(2, {"response": "a; b, c"}), (4, {"response": "d, e"})]


def test_a_cell_may_be_of_any_length_and_csv_keeps_its_limit(tmp_path):
    rows = [item | {"response": f"{index} " + "가" * 200_000} for index, item in enumerate(ROWS)]
    limit = csv.field_size_limit()
    (tmp_path / "x.csv").write_text(as_table(rows, ","), encoding="utf-8")
    splits = load(tmp_path / "x.csv")
    assert len(splits.train) == 24
    assert {len(item.response) for item in splits.train} == {200_002, 200_003}
    reading = read_rows(tmp_path / "x.csv")
    next(reading)
    assert csv.field_size_limit() == limit


def decomposed(value):
    """`value` as macOS writes it: each Hangul syllable in pieces."""
    return json.loads(unicodedata.normalize("NFD", json.dumps(value, ensure_ascii=False)))


def test_texts_and_names_are_composed(tmp_path, plain):
    mixed = [decomposed(item) if index % 2 else item for index, item in enumerate(ROWS)]
    for name, content in {
        "x.jsonl": as_jsonl(mixed),
        "escaped.json": json.dumps(mixed),
        "x.csv": unicodedata.normalize("NFD", as_table(ROWS, ",")),
    }.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert load(tmp_path / name) == plain, name
    pq.write_table(pa.Table.from_pylist([decomposed(item) for item in ROWS]), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet") == plain
    assert load(tmp_path / "x.parquet", criteria=[decomposed("친절")]).criteria == ("친절",)


def test_equal_texts_in_two_forms_are_a_repeat(tmp_path):
    (tmp_path / "train.jsonl").write_text(as_jsonl(ROWS), encoding="utf-8")
    again = [ROWS[0] | {"id": "again", "domain": "other"}, ROWS[1] | {"id": "too", "domain": "other"}]
    (tmp_path / "valid.jsonl").write_text(as_jsonl(map(decomposed, again)), encoding="utf-8")
    remarks = load(tmp_path).remarks
    assert "train: 2 responses left out: the same context and response is in valid too, such as r0" in remarks


def test_a_name_in_two_forms_is_refused(tmp_path):
    item = {"response": "x", "votes": {"친절": 1, decomposed("친절"): 0}}
    (tmp_path / "x.jsonl").write_text(as_jsonl([ROWS[0], item]), encoding="utf-8")
    with pytest.raises(ValueError, match="x.jsonl, line 2: a name must occur once, got '친절' in two Unicode forms"):
        load(tmp_path / "x.jsonl")


def test_only_text_is_composed():
    values = [1, None, 2.5, True, ("e\u0301", 1), {"e\u0301": ["o\u0308"]}]
    assert composed(values) == [1, None, 2.5, True, ("é", 1), {"é": ["ö"]}]


def write_stream(path, table):
    """As datasets writes its data-*.arrow: a stream of record batches."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)


def save_to_disk(folder, shards):
    names = [f"data-{number:05}-of-{len(shards):05}.arrow" for number in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        write_stream(folder / name, pa.Table.from_pylist(rows))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def datasets_dict(folder):
    save_to_disk(folder / "train", [ROWS[:9], ROWS[9:20]])
    save_to_disk(folder / "validation", [ROWS[20:25]])
    save_to_disk(folder / "test", [ROWS[25:]])
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation", "test"]}))


def hub_folder(folder):
    write_rows(folder / "data" / "train-00000-of-00002.parquet", ROWS[:9])
    write_rows(folder / "data" / "train-00001-of-00002.parquet", ROWS[9:20])
    write_rows(folder / "data" / "validation-00000-of-00001-1a2b3c.parquet", ROWS[20:25])
    write_rows(folder / "data" / "test-00000-of-00001.parquet", ROWS[25:])
    (folder / "README.md").write_text("about")
    (folder / ".gitattributes").write_text("")


def split_folders(folder):
    write_rows(folder / "train" / "0000.parquet", ROWS[:9])
    write_rows(folder / "train" / "0001.parquet", ROWS[9:20])
    write_rows(folder / "val" / "0000.parquet", ROWS[20:25])
    write_rows(folder / "test" / "0000.parquet", ROWS[25:])


def mixed_files(folder):
    folder.mkdir()
    (folder / "Train.tsv").write_text(as_table(ROWS[:20], "\t"), encoding="utf-8")
    (folder / "dev.json.gz").write_bytes(gzip.compress(json.dumps(ROWS[20:25]).encode()))
    write_xlsx(folder / "test.xlsx", ROWS[25:])


@pytest.mark.parametrize("write", [datasets_dict, hub_folder, split_folders, mixed_files])
def test_a_folder_means_the_same_as_three_files(tmp_path, write):
    for name, rows in {"train": ROWS[:20], "valid": ROWS[20:25], "test": ROWS[25:]}.items():
        (tmp_path / f"{name}.jsonl").write_text(as_jsonl(rows), encoding="utf-8")
    expected = load(tmp_path)
    write(tmp_path / "folder")
    splits = load(tmp_path / "folder")
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [20, 5, 5]
    splits.remarks[:] = [remark for remark in splits.remarks if "sheet" not in remark]
    assert splits == expected


def one_named_file(folder):
    write_rows(folder / "test.jsonl", ROWS[25:])
    write_rows(folder / "notes.jsonl", ROWS[:1])


def one_named_folder(folder):
    write_rows(folder / "data" / "test" / "0000.parquet", ROWS[25:])


def shards_of_any_name(folder):
    write_rows(folder / "part-a.parquet", ROWS[25:28])
    write_rows(folder / "part-b.parquet", ROWS[28:])


def saved_split(folder):
    save_to_disk(folder, [ROWS[25:27], ROWS[27:]])


@pytest.mark.parametrize("write", [one_named_file, one_named_folder, shards_of_any_name, saved_split])
def test_the_path_of_a_split_may_be_a_folder_that_holds_one(tmp_path, write):
    train = write_rows(tmp_path / "train.jsonl", ROWS[:25])
    expected = load(train, test_path=write_rows(tmp_path / "other" / "rest.jsonl", ROWS[25:]))
    write(tmp_path / "folder")
    splits = load(train, test_path=tmp_path / "folder")
    unread = ["data.source.test_path: not read: notes.jsonl"] if write is one_named_file else []
    assert [remark for remark in splits.remarks if "not read" in remark] == unread
    splits.remarks[:] = [remark for remark in splits.remarks if "not read" not in remark]
    assert splits == expected


@pytest.mark.parametrize(
    ("names", "got"),
    [
        (["train.jsonl", "test.jsonl"], "got test, train"),
        (["a.jsonl", "b.csv"], "got a.jsonl, b.csv"),
        (["a.doc"], "got a.doc"),
        ([], "got nothing"),
    ],
)
def test_the_path_of_a_split_is_refused_for_a_folder_of_several(tmp_path, names, got):
    train = write_rows(tmp_path / "train.jsonl", ROWS[:25])
    (tmp_path / "folder").mkdir()
    for name in names:
        (tmp_path / "folder" / name).touch()
    message = rf"^data.source.valid_path: .*folder must hold one split, in files of one format; {got}; name a file$"
    with pytest.raises(ValueError, match=message):
        VotesData(train, **SETTINGS | {"valid_path": tmp_path / "folder"}).fingerprint()


def test_a_saved_data_set_without_splits_is_all_train(tmp_path, plain):
    save_to_disk(tmp_path / "saved", [ROWS[:9], ROWS[9:]])
    assert load(tmp_path / "saved") == plain


@pytest.mark.parametrize("name", ["validation.csv", "val.csv", "dev.csv", "eval.csv", "VALID.CSV"])
def test_the_valid_split_has_many_names(tmp_path, name):
    (tmp_path / "train.jsonl").write_text(as_jsonl(ROWS[:25]), encoding="utf-8")
    (tmp_path / name).write_text(as_table(ROWS[25:], ","), encoding="utf-8")
    assert [item.id for item in load(tmp_path).valid] == ["r25", "r26", "r27", "r28", "r29"]


@pytest.mark.parametrize("other", ["valid.csv", "validation.jsonl", "val/x.csv", "dev-00000-of-00001.csv"])
def test_two_candidates_for_a_split_are_both_named(tmp_path, other):
    (tmp_path / "train.jsonl").write_text(as_jsonl(ROWS), encoding="utf-8")
    (tmp_path / other).parent.mkdir(exist_ok=True)
    for name in ("eval.csv", other):
        (tmp_path / name).write_text(as_table(ROWS, ","), encoding="utf-8")
    with pytest.raises(ValueError, match="must hold one candidate for valid, got ") as error:
        load(tmp_path)
    assert "eval.csv" in str(error.value)
    assert other in str(error.value)


def test_what_a_folder_holds_besides_is_named(tmp_path):
    (tmp_path / "train.jsonl").write_text(as_jsonl(ROWS), encoding="utf-8")
    for number in range(25):
        (tmp_path / f"old_{number:02}.csv").touch()
    write_rows(tmp_path / "data" / "train.parquet", ROWS)
    (tmp_path / "notes.docx").touch()
    named = ", ".join(["data", "notes.docx", *(f"old_{number:02}.csv" for number in range(18))])
    assert f"not read: {named} and 7 more ({KNOWN})" in load(tmp_path).remarks


def test_what_a_saved_data_set_holds_besides_is_named(tmp_path):
    datasets_dict(tmp_path)
    (tmp_path / "train" / "cache-1.arrow").touch()
    (tmp_path / "extra").mkdir()
    assert f"not read: extra, train/cache-1.arrow ({KNOWN})" in load(tmp_path).remarks


def test_a_missing_shard_is_refused(tmp_path):
    hub_folder(tmp_path)
    (tmp_path / "data" / "train-00000-of-00002.parquet").unlink()
    message = "data must hold each of the 2 shards once, got train-00001-of-00002.parquet"
    with pytest.raises(ValueError, match=message):
        load(tmp_path)
    save_to_disk(tmp_path / "saved", [ROWS[:9], ROWS[9:]])
    (tmp_path / "saved" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(ValueError, match="saved must hold data-00001-of-00002.arrow, which its state.json names"):
        load(tmp_path / "saved")
    (tmp_path / "saved" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="state.json must be a readable JSON object with _data_files"):
        load(tmp_path / "saved")


def test_an_error_names_the_shard_and_its_row(tmp_path):
    write_rows(tmp_path / "train-00000-of-00002.parquet", ROWS[:9])
    write_rows(tmp_path / "train-00001-of-00002.parquet", [*ROWS[9:], ROWS[2]])
    message = "id must be unique, got 'r2' also at .*train-00000-of-00002.parquet, row 3"
    with pytest.raises(ValueError, match=rf"train-00001-of-00002.parquet, row 22: {message}"):
        load(tmp_path)


def test_rows_of_shards_are_numbered_through(tmp_path):
    for number, rows in enumerate([ROWS[:3], ROWS[3:4], ROWS[4:6]]):
        (tmp_path / f"{number}.csv").write_text(as_table(rows, ","), encoding="utf-8")
    shards = Shards(tuple(tmp_path / f"{number}.csv" for number in range(3)))
    read = list(read_rows(shards))
    places = [place(shards, number) for number, _ in read]
    assert [item["id"] for _, item in read] == [f"r{index}" for index in range(6)]
    assert places == [
        f"{tmp_path / name}, line {line}"
        for name, line in [("0.csv", 2), ("0.csv", 3), ("0.csv", 4), ("1.csv", 2), ("2.csv", 2), ("2.csv", 3)]
    ]
    assert table_remarks(shards) == []


def test_the_fingerprint_follows_every_shard(tmp_path):
    def fingerprint():
        return VotesData(tmp_path, **SETTINGS).fingerprint()

    hub_folder(tmp_path)
    first = fingerprint()
    write_rows(tmp_path / "data" / "train-00001-of-00002.parquet", ROWS[9:19])
    assert fingerprint() != first


def test_class_labels_become_their_names(tmp_path):
    answer = {"names": ["no", "yes"], "_type": "ClassLabel"}
    features = {
        "votes": {"친절": {"feature": answer, "_type": "List"}, "b": {"feature": answer, "_type": "Sequence"}},
        "topic": {"names": ["d0", "d1"], "_type": "ClassLabel"},
        "pairs": {"feature": {"by": {"dtype": "string", "_type": "Value"}, "is": answer}, "_type": "Sequence"},
        "list": [{"is": answer}],
        "id": {"dtype": "string", "_type": "Value"},
    }
    rows = [
        {"votes": {"친절": [1, 0], "b": None}, "topic": 1, "pairs": {"by": ["k"], "is": [0]}, "list": [{"is": 1}]},
        {"votes": {"친절": [], "b": [0, -1]}, "topic": None, "pairs": None, "list": None},
    ]
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.Table.from_pylist([item | {"id": "x"} for item in rows]).replace_schema_metadata(about)
    expected = [
        {
            "votes": {"친절": ["yes", "no"], "b": None},
            "topic": "d1",
            "pairs": {"by": ["k"], "is": ["no"]},
            "list": [{"is": "yes"}],
        },
        {"votes": {"친절": [], "b": ["no", None]}, "topic": None, "pairs": None, "list": None},
    ]
    write_stream(tmp_path / "x.arrow", table)
    pq.write_table(table, tmp_path / "x.parquet")
    for name in ("x.arrow", "x.parquet"):
        assert [item for _, item in read_rows(tmp_path / name)] == [item | {"id": "x"} for item in expected], name


def test_an_arrow_file_means_the_same_as_a_stream(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    write_stream(tmp_path / "stream.arrow", table)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert list(arrow_rows(tmp_path / "file.arrow")) == list(arrow_rows(tmp_path / "stream.arrow"))


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv.gz", "x.parquet"])
def test_reading_holds_a_few_rows_at_a_time(tmp_path, name):
    rows = [item | {"response": random.Random(index).randbytes(1000).hex()} for index, item in enumerate(ROWS)] * 200
    path = tmp_path / name
    text = as_table(rows, ",") if ".csv" in name else as_jsonl(rows)
    if name == "x.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=500)
    else:
        path.write_bytes(gzip.compress(text.encode(), 1) if name.endswith(".gz") else text.encode())
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == len(rows)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000 < len(text)
    finally:
        tracemalloc.stop()


def test_an_aggregated_table_of_ai_hub_is_read_by_the_same_rules(tmp_path):
    path = tmp_path / "training_all_aggregated.csv"
    texts = "conversation_id;topic;utterance_id;utterance_index;human_question;bot_response"
    lines = [f"c{i};음식;u{i};1;질문 {i};답 {i};{i % 3};{2 - i % 3}" for i in range(30)]
    path.write_bytes("\n".join([f"{texts};친절_yes_count;친절_no_count", *lines]).encode("cp949"))
    settings = {name: SETTINGS[name] for name in SETTINGS if not name.endswith("_path")}
    splits = AIHubData(tmp_path, **settings).load()
    assert "training_all_aggregated.csv: read as CP949, because it is not UTF-8" in splits.remarks
    assert splits.criteria == ("친절",)
    text = unicodedata.normalize("NFD", path.read_text(encoding="cp949"))
    path.write_text(text, encoding="utf-8")
    assert AIHubData(tmp_path, **settings).load().train == splits.train
