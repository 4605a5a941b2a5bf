"""data.report=true, on the real command: it prints what is read of the data, and trains and records nothing."""

import json
import random
import re

import pytest
from hydra import compose, initialize_config_dir
from rich.cells import cell_len

from contrastive_app.data_report import print_report
from support.aihub import dialogue, write_table, write_tree
from support.commands import ROOT, TRAIN, run


def report(folder, *overrides):
    done = run(*TRAIN, "data.report=true", *overrides, cwd=folder, check=True)
    assert not (folder / "mlflow.db").exists()
    assert not list(folder.rglob("*.safetensors"))
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 100
    return done.stdout


def cells(text, title, name):
    """The row of a table that begins with `name`."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip() == title)
    return next(re.split(r"\s{2,}", line.strip()) for line in lines[start:] if line.split()[:1] == [name])


def judged(split, index):
    votes = random.Random(f"{split} {index}")
    return {
        "id": f"{split}{index}",
        "domain": "[bold]여행" if index % 4 else "일상",
        "context": [f"{split} 대화 {index // 2}", "네"] if index % 3 else [],
        "response": f"응답 {split} {index}" + " 그리고" * (60 * (index == 7)),
        "votes": {"친절": [1, 1, int(index % 5 > 0)], "an_uncommonly_long_name_of_a_criterion": [votes.randrange(2)]},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "내 자료").mkdir()
    for split, size in (("train", 80), ("valid", 31)):
        rows = [judged(split, index) for index in range(size)]
        rows += [rows[1] | {"id": f"{split}-again"}, rows[0] | {"id": f"{split}-none", "votes": {}}]
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        (folder / "내 자료" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_the_report_says_what_was_read(folder):
    text = report(folder, "data=votes", "data.path='내 자료'", "data.max_length=32", "data.source.test_fraction=0")
    assert "Data: 내 자료\nRows read: train 82, valid 33\ntrain, valid: read as responses, one row per" in text
    assert "train: 1 responses without votes, such as train-none" in text
    assert "valid: 1 responses left out: no votes, such as valid-none" in text
    assert "unjudged: 1 responses left out: another one has the same context and response, such as train-none" in text
    assert cells(text, "Responses", "valid")[1:3] == ["32", "29"]  # 11 without context; 20 of 18 groups
    _, responses, _, domains, _, most_turns, repeats = cells(text, "Responses", "train")
    assert (responses, domains, most_turns, repeats) == ("81", "2", "2", "1")
    criterion, judged_, votes, _, valid, *_, split_votes, alpha = cells(text, "Votes", "친절")
    assert (criterion, judged_, votes, valid) == ("친절", "113", "3", "92.7%")
    assert (split_votes, alpha) == ("20.4%", "-0.07")
    assert cells(text, "Tokens per input", "valid")[-2:] == ["3.1%", "3.1%"]
    assert "Between splits: no response shares group, whole context or text with train" in text
    assert cells(text, "Responses per domain", "[bold]여행")[2] == "24"
    examples = re.findall(r"^Example (\S+) \((.*)\)$", text, re.MULTILINE)
    assert len(examples) == 3
    assert "yes votes: 친절 3/3, an_uncommonly_long_name_of_a_criterion 1/1" in text
    assert "- valid has 32 responses: thresholds and best epoch, chosen on it, are uncertain (a share by ±17" in text
    assert "- 친절: people agree little (alpha -0.07)" in text
    assert "- an_uncommonly_long_name_of_a_criterion: one vote per response" in text


def test_the_generated_data_have_a_report_in_which_nothing_stands_out(tmp_path):
    text = report(tmp_path)
    assert cells(text, "Responses", "train")[1] == "2,000"
    assert cells(text, "Votes", "linguistic_acceptability")[1:3] == ["3,200", "3"]
    assert text.rstrip().endswith("Nothing stands out.")


@pytest.mark.parametrize("form", ["folders of zips", "aggregated table"])
def test_the_target_set_has_a_report(tmp_path, capsys, form):
    """Two dialogues are in both parts of the folders; a table has one part, of which 30 dialogues are drawn here."""
    if form == "aggregated table":
        write_table(tmp_path / "021.AI 응답.csv", map(dialogue, range(1, 31)))
        rows, sizes = "answers of the only part 90", ["72", "9", "9"]
    else:
        write_tree(tmp_path / "021.AI 응답.csv" / "데이터")
        rows, sizes = "answers of train 87, answers of valid 36", ["81", "18", "18"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["data=aihub", f"data.path='{tmp_path}/021.AI 응답.csv'"])
    print_report(config)
    text = capsys.readouterr().out
    assert f"Rows read: {rows}\n" in text
    assert [cells(text, "Responses", split)[1] for split in ("train", "valid", "test")] == sizes
    judged_, votes = cells(text, "Votes", "consistency")[1:3]
    assert (int(judged_), votes) == (sum(map(int, sizes)), "3")
    assert cells(text, "Responses per domain", "기술과학")[1:] == sizes
    assert len(re.findall(r"^Example c\d+\.u\d \(기술과학\)$", text, re.MULTILINE)) == 3


def test_a_report_is_of_one_data_set_and_says_what_it_cannot_read(tmp_path):
    for overrides, line in [
        (["-m", "seed=0,1"], "data.report=true prints what is read of one data set and trains nothing: leave out -m"),
        (["data=votes", "data.path=none.jsonl"], "data.path must exist, got none.jsonl"),
        (["data.max_length=4096"], "data.max_length=4096 is more than the 512 positions"),
    ]:
        done = run(*TRAIN, *overrides, "data.report=true", cwd=tmp_path)
        assert done.returncode == 1
        assert line in done.stderr
        assert len(done.stderr.strip().splitlines()) == 2  # the first is "loading …"
    assert not (tmp_path / "mlflow.db").exists()
    assert "data.report must be true or false, got 2" in run(*TRAIN, "data.report=2", cwd=tmp_path).stderr
