"""A judge that is called from Python."""

import numpy as np
import pandas as pd
import pytest

from contrastive_app.python import load
from contrastive_learning.serving import SavedJudge
from support.judges import CRITERIA, RESPONSES, export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, export(folder / "judge")


def test_a_judge_says_of_texts_what_it_said_in_training(exported):
    folder, evaluation = exported
    judge = SavedJudge(folder / "judge")
    assert judge.criteria == list(CRITERIA)
    rows = [{"context": list(each.context), "response": each.response} for each in RESPONSES]
    for given in (rows, pd.DataFrame(rows)):
        found = judge(given)
        for index, criterion in enumerate(CRITERIA):
            expected = evaluation.probabilities[:, index]
            np.testing.assert_allclose(found[f"probability/{criterion}"], expected, atol=1e-5)
    mixed = judge(["바람이 불어 시원해요.", *rows])
    alone = judge([{"response": "바람이 불어 시원해요."}])
    np.testing.assert_allclose(
        mixed.iloc[:1]["vote_share/" + CRITERIA[0]], alone["vote_share/" + CRITERIA[0]], atol=1e-5
    )


def test_each_criterion_can_be_read_with_its_threshold(exported):
    judge = SavedJudge(exported[0] / "judge")
    texts = ["바람이 불어 시원해요.", "바다요."]
    table, found = judge(texts), judge.per_criterion(texts)
    assert list(found.index) == [(row, criterion) for row in range(2) for criterion in CRITERIA]
    for (row, criterion), values in found.iterrows():
        assert values["threshold"] == judge.thresholds[criterion]
        assert values["decision"] == (values["probability"] > values["threshold"])
        assert values["vote_share"] == table[f"vote_share/{criterion}"][row]


def test_a_saved_judge_is_the_same_and_nothing_is_overwritten(exported, tmp_path):
    judge = load(exported[0])  # the output folder of a run
    judge.save(tmp_path / "mine")
    pd.testing.assert_frame_equal(load(tmp_path / "mine")(["바다요."]), judge(["바다요."]))
    with pytest.raises(ValueError, match=r"mine exists already: remove it"):
        judge.save(tmp_path / "mine")


@pytest.mark.parametrize(
    ("responses", "message"),
    [
        ("바다요.", r'responses must be a list of texts such as \["바다요\."\], got \'바다요\.\''),
        ([{"text": "바다요."}], "must be texts, or have a response each"),
        (None, r'responses must be a list of texts such as \["바다요\."\], got None'),
        ([3], "every response must be a text that is not empty, got 3 in row 1"),
        ([""], "every response must be a text that is not empty"),
    ],
)
def test_what_is_no_list_of_responses_is_refused(exported, responses, message):
    with pytest.raises(ValueError, match=message):
        SavedJudge(exported[0] / "judge")(responses)


def test_a_folder_without_a_judge_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must have judge\.json, got "):
        SavedJudge(tmp_path)
    with pytest.raises(ValueError, match=r"^model must be a folder with judge\.json, or of a run that has a judge"):
        load(tmp_path)
    with pytest.raises(
        ValueError, match=r"^model must be a folder, a run id, or models:/name@alias; there is no folder"
    ):
        load(tmp_path / "nope")
    with pytest.raises(ValueError, match=r"^store must be an MLflow store with runs, .*; or give model a folder$"):
        load(store=str(tmp_path / "nope.db"))
