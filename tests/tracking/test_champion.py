"""A champion that is to stay unless a better one comes: compared on what its own run has recorded."""

import json

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from contrastive_learning.tracking import MlflowTracking
from contrastive_learning.tracking.champion import gain_of
from support.judges import CRITERIA, RESPONSES, export


def test_a_gain_is_the_mean_over_responses_of_the_share_of_decisions_that_are_right():
    """Votes: yes yes / no - (a tie) / none. The second judge is right on one more cell of two, and one less of two."""
    yes, total = [[3, 3], [1, 0], [0, 0]], [[3, 3], [2, 3], [0, 0]]
    first = [[False, True], [False, False], [True, True]]
    second = [[True, True], [True, False], [False, False]]
    gain = gain_of(first, second, yes, total)
    assert (gain.mean, gain.num_responses) == (0, 2)
    assert gain.high == -gain.low == pytest.approx(1.96 * 0.5 / np.sqrt(2))
    assert gain_of(first, second, yes, np.zeros((3, 2))) is None


class Store:
    """Judges that are right on the recorded responses as far as they are told to be."""

    def __init__(self, folder):
        self.folder, self.uri = folder, f"sqlite:///{folder}/mlflow.db"
        evaluation = export(folder / "judge")
        self.majority = evaluation.probabilities > 0.5
        self.responses = pd.DataFrame(
            {"context": [list(item.context) for item in RESPONSES], "response": [item.response for item in RESPONSES]}
        )

    def register(self, champion_if, *, right=(True, True), recorded=True):
        """Of a run whose judge is right on each of CRITERIA or always says yes. Returns the words and the run's id."""
        settings = json.loads((self.folder / "judge/judge.json").read_text(encoding="utf-8"))
        settings["thresholds"] = [0.5 if each else 0.0 for each in right]
        (self.folder / "judge/judge.json").write_text(json.dumps(settings), encoding="utf-8")
        votes = {"yes_votes": (3 * self.majority).tolist(), "num_votes": np.full((4, 2), 3).tolist()}
        self.responses.assign(**votes).to_parquet(self.folder / "test.parquet")
        tracking = MlflowTracking(
            uri=self.uri,
            experiment="x",
            log_model=True,
            register="judge",
            system_metrics=False,
            champion_if=champion_if,
        )
        with tracking.open("run", {}, folder=self.folder) as run:
            if recorded:
                run.artifact(self.folder / "test.parquet", "embeddings")
            run.model(self.folder / "judge", CRITERIA)
            return run.register(), run.run_id

    def champion(self):
        client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return client.get_model_version_by_alias("judge", "champion").version


def test_only_a_better_judge_replaces_the_champion(tmp_path):
    """The votes are those of a judge whose decisions are right on both criteria; some of its votes are "no"."""
    store = Store(tmp_path)
    wrong = (~store.majority).mean(axis=0)
    assert (wrong > 0).all()
    assert store.register("better", right=(True, False))[0] == "models:/judge/1, also models:/judge@champion"
    told, run_id = store.register("better")
    assert told.startswith(
        "models:/judge/2, also models:/judge@champion: on the 4 test responses of version 1 the new one is right "
        f"{wrong[1] / 2:.3f} more often ("
    )
    assert store.champion() == 2
    for right, difference in (((False, True), -wrong[0] / 2), ((True, True), 0.0)):
        told, _ = store.register("better", right=right)
        assert "; models:/judge@champion stays version 2: on the 4 test responses" in told
        word = "less" if difference < 0 else "more"
        assert f"the new one is right {abs(difference):.3f} {word} often (" in told
        assert store.champion() == 2
    tracking = MlflowTracking(
        uri=store.uri, experiment="x", log_model=True, register="judge", system_metrics=False, champion_if="better"
    )
    assert tracking.register(run_id) == "models:/judge/2, also models:/judge@champion"  # once more
    told, held_back = store.register("always", right=(False, False), recorded=False)
    assert (told, store.champion()) == ("models:/judge/5, also models:/judge@champion", 5)
    told, _ = store.register("better")
    assert told.startswith("models:/judge/6; models:/judge@champion stays version 5, as no test responses with votes")
    assert tracking.register(held_back) == "models:/judge/5, also models:/judge@champion"


def test_a_condition_that_does_not_exist_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="tracking.champion_if must be one of always, better; got beter"):
        MlflowTracking(
            uri="sqlite:///a.db",
            experiment="x",
            log_model=True,
            register="a",
            system_metrics=False,
            champion_if="beter",
        )
