import csv
import json
from pathlib import Path

import pytest

from contrastive_learning.data import AIHubData
from contrastive_learning.data.aihub import read_conversations
from contrastive_learning.data.responses import VoteCount
from contrastive_learning.data.vote_counts import VoteCounter
from support.aihub import CRITERIA, conversation_of, dialogue, write_table, write_tree, write_zip

EXAMPLE = Path(__file__).parents[2] / ".." / "shared" / "data" / "aihub_example"
SETTINGS = {"criteria": None, "valid_fraction": 0.1, "test_fraction": 0.1, "held_out_domains": [], "split_seed": 0}


def source(path, **settings):
    return AIHubData(path, **SETTINGS | settings)


def answers(path):
    return {
        item.id: item for conversation in read_conversations(path, VoteCounter(None)) for item in conversation.responses
    }


@pytest.fixture
def raw(tmp_path):
    return write_tree(tmp_path / "021.AI_응답" / "데이터")


def test_an_answer_has_everything_said_before_it_as_context(raw):
    item = answers(raw)["c5.u4"]
    assert item.context == ("질문 5.1", "답, 5.1", "질문 5.2")
    assert (item.response, item.domain, item.group) == ("답, 5.2", "기술과학", "5")
    assert set(item.votes) == set(CRITERIA)
    assert all(count.total == 3 for count in item.votes.values())


def test_validation_becomes_valid_and_test_and_leaves_train(raw):
    splits = source(raw).load()
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [81, 18, 18]
    assert "train: 6 responses left out: the same conversation is in valid too, such as c28.u2" in splits.remarks
    groups = [{item.group for item in part} for part in (splits.train, splits.valid, splits.test)]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
    assert splits.criteria == CRITERIA


def test_one_part_alone_is_divided_by_fractions(raw):
    splits = source(raw / "Training").load()
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [75, 6, 6]


def test_topics_are_held_out_of_both_parts(raw):
    write_zip(raw / "Training/02.라벨링데이터/TL_1.b.zip", [dialogue(50, topic="여행, 여가, 취미")])
    write_zip(raw / "Validation/02.라벨링데이터/VL_1.b.zip", [dialogue(60, topic="여행, 여가, 취미")])
    splits = source(raw, held_out_domains=["여행, 여가, 취미"]).load()
    assert {item.group for item in splits.test_ood} == {"50", "60"}


def test_zips_folders_and_table_of_the_same_dialogues_are_equal(raw, tmp_path):
    for part, label, numbers in (("Training", "TL", range(1, 30)), ("Validation", "VL", range(28, 40))):
        folder = tmp_path / "unpacked" / part / f"{label}_1.발화단위평가"
        folder.mkdir(parents=True)
        for number in numbers:
            (folder / f"기술과학_{number:02}.json").write_text(json.dumps(dialogue(number)), encoding="utf-8-sig")
    write_table(tmp_path / "table/train/training_all_aggregated.csv", map(dialogue, range(1, 30)))
    write_table(tmp_path / "table/val/validation_all_aggregated.csv", map(dialogue, range(28, 40)))
    expected = source(raw).load()
    assert source(tmp_path / "unpacked").load() == expected
    assert source(tmp_path / "table").load() == expected
    single = source(tmp_path / "table/train/training_all_aggregated.csv").load()
    assert single == source(raw / "Training").load()


def test_pairs_out_of_order_are_put_in_order_by_their_exchange(tmp_path):
    data = dialogue(1)
    conversation = conversation_of(data)
    first, second, third, fourth, *rest = conversation["utterances"]
    conversation["utterances"] = [second, first, third, rest[0], rest[1], fourth]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    plain = tmp_path / "y.json"
    plain.write_text(json.dumps(dialogue(1)), encoding="utf-8")
    assert answers(path) == answers(plain)


def test_answers_without_votes_or_text_are_context_but_no_examples(tmp_path):
    data = dialogue(1, exchanges=4)
    utterances = conversation_of(data)["utterances"]
    utterances[1]["utterance_evaluation"] = []
    utterances[3]["utterance_text"] = None
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    (conversation,) = read_conversations(path, VoteCounter(None))
    assert [item.id for item in conversation.responses] == ["c1.u6", "c1.u8"]
    assert conversation.responses[0].context == ("질문 1.1", "답, 1.1", "질문 1.2", "질문 1.3")
    assert conversation.skipped == ["c1.u2", "c1.u4"]


def test_answers_left_out_are_counted_with_an_example(raw):
    path = raw / "Training" / "one.json"
    data = dialogue(99)
    conversation_of(data)["utterances"][1]["utterance_evaluation"] = []
    path.write_text(json.dumps(data), encoding="utf-8")
    splits = source(raw).load()
    assert "1 answers left out: no votes or no text, such as c99.u2" in splits.remarks
    assert splits.rows == {"answers of train": 30 * 3, "answers of valid": 12 * 3}  # dialogues of three answers


def test_votes_are_counted_without_regard_to_who_gave_them(tmp_path):
    data = dialogue(1, exchanges=1)
    answer = conversation_of(data)["utterances"][1]
    answer["utterance_evaluation"] = [
        {"a": "yes", "b": "no"},
        {"a": "no"},
        {"a": "Yes", "b": None},
        {"a": "no", "b": "no"},
    ]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    assert answers(path)["c1.u2"].votes == {"a": VoteCount(2, 4), "b": VoteCount(0, 2)}


def test_a_dialogue_twice_in_one_part_is_refused_with_readable_names(raw):
    write_zip(raw / "Training/02.라벨링데이터/TL_1.더.zip", [dialogue(7)])
    with pytest.raises(
        ValueError,
        match=r"TL_1.발화단위평가_기술과학.zip, 기술과학_7.json: conversation 7 must occur once.*TL_1.더.zip",
    ):
        source(raw).load()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda talk: talk["utterances"][3].pop("exchange_id"),
            r"utterances\[3\]: exchange_id is missing; the row has",
        ),
        (
            lambda talk: talk["utterances"][1].update(utterance_evaluation=3),
            r"utterances\[1\]: utterance_evaluation must be",
        ),
        (lambda talk: talk["utterances"][1]["utterance_evaluation"][0].update(consistency="so so"), "got 'so so'"),
        (lambda talk: talk.pop("metadata"), "metadata is missing; the row has conversation_id, utterances"),
        (lambda talk: talk.update(conversation_id=None), "conversation_id must be .*, got None"),
    ],
)
def test_a_bad_dialogue_is_named_on_one_line(raw, change, message):
    data = dialogue(77)
    path = write_zip(raw / "Training/02.라벨링데이터/TL_1.x.zip", [data])
    source(raw).load()
    change(conversation_of(data))
    path.unlink()
    folder = raw / "Training/02.라벨링데이터/TL_1.x"
    folder.mkdir()
    (folder / "x_77.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"x_77.json: .*{message}") as error:
        source(raw).load()
    assert "\n" not in str(error.value)


def test_damaged_files_are_refused(raw):
    path = raw / "Training/02.라벨링데이터/TL_1.x.zip"
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match="TL_1.x.zip must be a whole zip file without a password"):
        source(raw).load()
    path.rename(path.with_name("TL_1.x.zip.part0"))
    with pytest.raises(ValueError, match=r"TL_1.x.zip must be joined first: cat '.*'\* > "):
        source(raw).load()


def test_paths_that_leave_doubt_are_refused(raw, tmp_path):
    with pytest.raises(ValueError, match=r"there is no 데이타 in .* \(did you mean 데이터\?\)"):
        source(raw.parent / "데이타").load()
    with pytest.raises(ValueError, match=r"must hold TL_1.*zip, VL_1.*; got TS_1.발화단위평가_기술과학.zip"):
        source(raw / "Training/01.원천데이터").load()
    (raw / "x.json").write_text(json.dumps(dialogue(99)), encoding="utf-8")
    with pytest.raises(ValueError, match="every file must be under Training or Validation if some are, got x.json"):
        source(raw).load()
    (raw / "x.json").unlink()
    write_table(raw / "train/training_all_aggregated.csv", [dialogue(99)])
    with pytest.raises(ValueError, match="data.path must hold one form of the data"):
        source(raw).load()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("utterance_index", "x", "utterance_index must be a whole number, got 'x'"),
        ("consistency_no_count", "-1", "votes.consistency"),
    ],
)
def test_a_bad_table_is_named_on_one_line(tmp_path, name, value, message):
    path = write_table(tmp_path / "training_all_aggregated.csv", [dialogue(1)])
    header, *rows = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
    rows[1][header.index(name)] = value
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    with pytest.raises(ValueError, match=f"training_all_aggregated.csv, line 3: {message}"):
        source(path).load()


def test_fingerprint_follows_files_and_settings_but_not_the_folder(raw, tmp_path):
    first = source(raw).fingerprint()
    moved = raw.rename(tmp_path / "elsewhere")
    assert source(moved).fingerprint() == first
    (moved / "Training/01.원천데이터/TS_1.발화단위평가_기술과학.zip").write_bytes(b"still not read")
    assert source(moved).fingerprint() == first
    assert source(moved, split_seed=1).fingerprint() != first
    write_zip(moved / "Training/02.라벨링데이터/TL_1.x.zip", [dialogue(99)])
    assert source(moved).fingerprint() != first


@pytest.mark.skipif(not EXAMPLE.exists(), reason="needs ../shared/data/aihub_example")
class TestExample:
    def test_both_forms_hold_the_same_answers(self):
        raw, table = answers(EXAMPLE / "raw"), answers(EXAMPLE / "aggregated")
        assert raw == table
        assert len(raw) == 7
        assert len(raw["c900001.u8"].context) == 7
        assert raw["c900001.u6"].votes["linguistic_acceptability"] == VoteCount(1, 3)

    @pytest.mark.parametrize("form", ["raw", "aggregated"])
    def test_criteria_with_both_votes_can_be_loaded(self, form):
        splits = source(EXAMPLE / form, criteria=["consistency", "sensibleness"]).load()
        assert [len(splits.train), len(splits.valid), len(splits.test)] == [4, 3, 0]
        assert "test is empty: too few conversations for test_fraction=0.1" in splits.remarks

    def test_all_nine_are_too_many_for_four_answers(self):
        with pytest.raises(
            ValueError, match=r"got only yes on unbias, harmlessness; leave them out with .*criteria=\[ling"
        ):
            source(EXAMPLE / "raw").load()

    def test_a_single_file_is_one_conversation(self):
        assert len(answers(EXAMPLE / "여행_여가_취미_1.json")) == 4
        with pytest.raises(ValueError, match="valid must hold responses, got none"):
            source(EXAMPLE / "여행_여가_취미_1.json").load()
