"""A search that begins where earlier ones ended."""

import math

import numpy as np
import optuna
import pytest

from optuna_sweep.errors import SweepError
from optuna_sweep.outcome import Outcome, TrialResult
from optuna_sweep.plan.preview import announcement
from optuna_sweep.record.results import write_files
from support.plans import planned

SPACE = ("x=tag(log,interval(0.01,1.0))", "y=int(interval(0,20))", "name=a,b,c")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def results(folder, trials, metric="value", direction="minimize"):
    """The folder of a sweep that ended: trials are pairs of parameters and value."""
    made = [
        TrialResult(number, f"{number:03d}", "COMPLETE", params, (value,), None, 1.0, "", {}, folder=folder)
        for number, (params, value) in enumerate(trials)
    ]
    write_files(
        Outcome(
            "old", [metric], [direction], "seed", dict.fromkeys(trials[0][0], ""), made, [0], 0, None, sweep_dir=folder
        )
    )
    return folder


OLD = [({"x": 0.1 * 2**index, "y": 5 + index, "name": "b"}, float(index)) for index in range(3)]
OLD += [({"x": 0.01, "y": 20, "name": "c"}, 9.0)] * 5


def test_the_space_is_cut_to_the_best_trials_and_the_search_begins_at_their_centre(tmp_path):
    old = results(tmp_path / "old", OLD)
    with planned(*SPACE, f"hydra.sweeper.warm_start=['{old}']") as (plan, _):
        x, y, name = (plan.space.axes[key] for key in ("x", "y", "name"))
    assert plan.settings.enqueue == [{"x": pytest.approx(0.2), "y": 6, "name": "b"}]
    assert plan.settings.enqueue[0]["x"] == pytest.approx(math.prod(0.1 * 2**index for index in range(3)) ** (1 / 3))
    expected = 0.1 * 0.01**0.1, 0.4 * 100**0.1
    assert (x.distribution.low, x.distribution.high) == tuple(float(f"{bound:.4g}") for bound in expected)
    assert f"  hydra.sweeper.warm_start: only where the best trials of {old} lie" in announcement(plan, 0)
    assert (y.distribution.low, y.distribution.high) == (2, 10)  # at least a third of the old width
    assert list(name.choices) == ["a", "b", "c"]


def test_several_studies_add_up_and_points_of_the_user_stay_inside(tmp_path):
    old = results(tmp_path / "old", OLD)
    other = results(tmp_path / "other", [({"x": 0.05}, 0.1), ({"x": 0.05}, 0.2), ({"x": 0.05}, 0.3)])
    with planned(
        *SPACE, f"hydra.sweeper.warm_start=['{old}','{other}/trials.csv']", "hydra.sweeper.enqueue=[{x:1.0}]"
    ) as (plan, _):
        x = plan.space.axes["x"].distribution
    assert plan.settings.enqueue[1:] == [{"x": pytest.approx(0.05)}, {"x": 1.0}]
    assert (x.low, x.high) == (pytest.approx(0.05 * 0.01**0.1, rel=1e-3), 1.0)


def test_a_study_of_the_storage_is_learned_from_as_well():
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("optuna.journal"))
    study = optuna.create_study(study_name="earlier", storage=storage)
    for point, value in OLD[:3]:
        study.add_trial(optuna.create_trial(value=value, params=point, distributions=distributions()))
    with planned(*SPACE, "hydra.sweeper.warm_start=[earlier]") as (plan, _):
        assert plan.settings.enqueue == [{"x": pytest.approx(0.2), "y": 6, "name": "b"}]


def distributions():
    with planned(*SPACE) as (plan, _):
        return plan.space.distributions


@pytest.mark.parametrize(
    ("trials", "metric", "name", "message"),
    [
        (OLD, "loss", "old", "old was to minimize loss, this sweep is to minimize value"),
        ([({"z": 1.0}, 1.0)], "value", "old", "old has no COMPLETE trial with x or y or name in this space"),
        ([({"x": 7.0}, 1.0)], "value", "old", "old has no COMPLETE trial with x or y or name in this space"),
        (OLD, "value", "missing", "missing is neither a file or folder nor a study of this storage"),
        (OLD, "value", ".", r"\. is no folder of a sweep's results: FileNotFoundError"),
    ],
)
def test_what_teaches_nothing_is_refused_in_one_line(tmp_path, trials, metric, name, message):
    results(tmp_path / "old", trials, metric)
    with pytest.raises(SweepError, match=message), planned(*SPACE, f"hydra.sweeper.warm_start=['{name}']"):
        pass


def loss(params, best):
    place = np.array([math.log(params["x"] / 0.01) / math.log(100), params["y"] / 20])
    return float(((place - best) ** 2).sum())


def search(random, space, first, best, num_trials):
    """Random trials, after the first points, of a task with this best place; they see it with noise."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=int(random.integers(1 << 30))))
    for point in first:
        study.enqueue_trial(point)
    for _ in range(num_trials):
        trial = study.ask(space.distributions)
        study.tell(trial, loss(trial.params, best) + 0.02 * random.normal())
    return study.trials


def test_with_three_old_studies_five_trials_are_as_good_as_twenty_without(tmp_path):
    """Over tasks whose best places are similar: the best true loss among the trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    random = np.random.default_rng(0)
    with planned(*SPACE[:2]) as (plan, _):
        full = plan.space
    twenty, five = [], []
    for task in range(12):
        centre = random.uniform(0.2, 0.8, size=2)
        *old, new = [np.clip(centre + 0.08 * random.normal(size=2), 0, 1) for _ in range(4)]
        tried = [search(random, full, [], best, 20) for best in old]
        folders = [
            str(results(tmp_path / f"{task}/{index}", [(trial.params, trial.value) for trial in trials]))
            for index, trials in enumerate(tried)
        ]
        with planned(*SPACE[:2], f"hydra.sweeper.warm_start={folders}") as (plan, _):
            warm = search(random, plan.space, plan.settings.enqueue, new, 5)
        five.append(min(loss(trial.params, new) for trial in warm))
        twenty.append(min(loss(trial.params, new) for trial in search(random, full, [], new, 20)))
    assert np.mean(five) < np.mean(twenty) + 0.005
