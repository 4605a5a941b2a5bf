"""Where the best of a sweep decides otherwise than the registered champion, as the report shows it."""

import json
import re

import numpy as np
import pytest
from mlflow import MlflowClient
from omegaconf import OmegaConf

from contrastive_app.report import report
from contrastive_app.report.champion import against_champion
from contrastive_learning.tracking import MlflowTracking
from support.commands import provide_store
from support.judges import CRITERIA, RESPONSES, export

from .conftest import write_recorded

OPTIONS = {"experiment": "x", "log_model": True, "register": "judge", "system_metrics": False}
TEXTS = {
    "context": [list(item.context) for item in RESPONSES],
    "response": [item.response for item in RESPONSES],
}


class Registry:
    """A store in a folder, and the judge of a sweep's best run."""

    def __init__(self, folder, sweep):
        self.options = OPTIONS | {"uri": f"sqlite:///{folder}/mlflow.db"}
        self.config = OmegaConf.create({"_target_": "contrastive_learning.tracking.MlflowTracking"} | self.options)
        self.judge = folder / "judge"
        self.evaluation = export(self.judge)
        thresholds = json.loads((self.judge / "judge.json").read_text(encoding="utf-8"))["thresholds"]
        self.decisions = self.evaluation.probabilities > thresholds
        provide_store(folder)
        sweep.trial(0.07, 0.1, 0.9)
        self.best = sweep.trials[0].runs[0].folder
        self.write(run_id="1")

    def write(self, **run):
        (self.best / "run.json").write_text(json.dumps({"data": "same", "config": {}} | run), encoding="utf-8")

    def crown(self):
        """The judge becomes the champion. Returns the id of its run."""
        with MlflowTracking(**self.options).open("run", {"data.fingerprint": "same"}, folder=self.judge.parent) as run:
            run.model(self.judge, CRITERIA)
            run.register()
            return run.run_id

    def record(self, **more):
        """The best decides as the champion does, but for the first criterion of the first response."""
        decisions = self.decisions.copy()
        decisions[0, 0] = not decisions[0, 0]
        write_recorded(self.best, np.where(decisions, 0.75, 0.25), criteria=CRITERIA, **TEXTS | more)

    def challenge(self):
        return against_champion(self.config, self.best)


@pytest.fixture
def registry(tmp_path, sweep):
    return Registry(tmp_path, sweep)


def test_the_champion_is_asked_what_the_best_has_recorded(registry, sweep):
    registry.crown()
    registry.record(votes=((3, 3), (3, 3)))
    found = registry.challenge()
    assert (found.champion, found.remark) == ("models:/judge@champion (version 1)", "")
    changed = found.changed
    assert (changed.split, changed.num_decisions, changed.num_differ) == ("test", 8, 1)
    says_yes = registry.decisions[0, 0]
    right = "the champion" if says_yes else "the best"
    assert f"the best is right on {int(not says_yes)} and the champion on {int(says_yes)}." in changed.words
    (case,) = changed.cases
    assert case.response == RESPONSES[0].response
    said = f"{registry.evaluation.probabilities[0, 0]:.2f} {'yes' if says_yes else 'no'}"
    assert case.said.rows[0].cells == ["3 of 3", said, "0.25 no" if says_yes else "0.75 yes", right]
    assert case.said.heading == ["", "yes votes", "the champion", "the best", "right"]
    page = next(report(whole(registry.config), sweep.outcome(), sweep.folder)).read_text(encoding="utf-8")
    assert ">Against the champion<" in page
    assert "On test, 1 of 8 decisions of the best differ from the champion's." in page
    assert RESPONSES[0].response in page


def whole(tracking):
    return OmegaConf.create({"pictures": {"criterion": None}, "trainer": {"epochs": 5}, "tracking": tracking})


def test_other_data_and_criteria_of_one_of_the_two_are_said(registry):
    registry.crown()
    registry.record()
    registry.write(run_id="1", data="other")
    settings = json.loads((registry.best / "judge/judge.json").read_text(encoding="utf-8"))
    settings["criteria"] = ["another", CRITERIA[0]]  # the champion judges the second and one that the best does not
    (registry.best / "judge/judge.json").write_text(json.dumps(settings), encoding="utf-8")
    found = registry.challenge()
    assert found.remark.startswith("Only the criteria that both judge are compared. The champion was trained on other")
    assert found.changed.num_decisions == 4


def test_without_a_name_or_a_champion_nothing_is_said(registry):
    registry.record()
    assert registry.challenge() is None
    registry.crown()
    MlflowClient(registry_uri=registry.options["uri"]).delete_registered_model_alias("judge", "champion")
    assert registry.challenge() is None
    registry.config.register = None
    assert registry.challenge() is None
    assert against_champion(OmegaConf.create({"_target_": "contrastive_learning.tracking.NoTracking"}), "x") is None


def test_one_line_says_why_the_champion_is_not_compared(registry, sweep, tmp_path):
    run_id = registry.crown()
    registry.record()
    registry.write(run_id=run_id)
    assert registry.challenge().remark == "it is the best itself"
    registry.write(run_id="1")
    write_recorded(registry.best, [[0.1, 0.2]])
    assert registry.challenge().remark == f"it judges other criteria: {', '.join(CRITERIA)}"
    (file,) = (file for file in tmp_path.rglob("judge.json") if "artifacts" in file.parts)
    file.unlink()
    told = registry.challenge().remark
    assert re.fullmatch("models:/m-[0-9a-f]{32} has no judge.json: it is no judge of this package", told)
    (tmp_path / "a.db").write_text("no database")
    registry.config.uri = f"sqlite:///{tmp_path}/a.db"
    found = registry.challenge()
    assert (found.champion, found.changed) == ("models:/judge@champion", None)
    assert found.remark == f"tracking.uri: {registry.config.uri} cannot be opened: file is not a database"
