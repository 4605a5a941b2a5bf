"""Commas, choice and range are exact grids; a space with an interval is searched."""

import math
from importlib.util import find_spec

import optuna
import pytest
import yaml
from optuna.distributions import FloatDistribution

from optuna_sweep.plan.proposals import propose_unseen
from optuna_sweep.plan.space import Axis, Space
from support.sweeps import NAME

pytestmark = pytest.mark.slow


def test_two_values_are_two_runs_and_a_product_multiplies(sweeps):
    sweeps.run(NAME, "x=0.05,0.1,0.05", "y=choice(1,2,3)")
    points = [(params["x"], params["y"]) for params in sweeps.params()]
    assert points == [(x, y) for x in (0.05, 0.1) for y in (1, 2, 3)]
    assert sweeps.states() == ["COMPLETE"] * 6
    assert [line[3:5] for line in sweeps.started()] == [[str(x), str(y)] for x, y in points]
    assert sorted(path.name for path in (sweeps.folder / "runs/s").iterdir() if path.is_dir()) == [
        f"{number:03d}" for number in range(6)
    ]


def test_a_range_stops_before_its_end_and_texts_stay_exact(sweeps):
    sweeps.run(NAME, "x=range(0.1,0.3,0.1)", "name='a,b','c=d',null,true,'it\\'s'")
    assert len(sweeps.params()) == 10
    assert sorted({params["x"] for params in sweeps.params()}) == [0.1, 0.2]
    assert {params["name"] for params in sweeps.params()} == {"a,b", "c=d", None, True, "it's"}


def test_the_same_command_again_runs_nothing_and_one_more_value_runs_one(sweeps):
    sweeps.run("x=1,2")
    sweeps.run("x=1,2")
    assert len(sweeps.started()) == 2
    sweeps.run("x=1,2,3")
    assert len(sweeps.started()) == 3
    sweeps.run("x=1,2,3", "hydra.sweeper.fresh=true")
    assert len(sweeps.started()) == 6


def test_another_fixed_value_is_another_study(sweeps):
    sweeps.run("x=1,2")
    sweeps.run("x=1,2", "y=5")
    assert len(sweeps.started()) == 4


def test_fewer_trials_than_points_repeats_none(sweeps):
    sweeps.run(NAME, "x=range(0,2)", "y=range(0,3)", "hydra.sweeper.n_trials=5")
    points = [tuple(params.values()) for params in sweeps.params()]
    assert len(points) == len(set(points)) == 5


def test_few_integers_are_points_like_choices(sweeps):
    space = ("x=int(interval(1,3))", "y=choice(1,2)")
    sweeps.run(NAME, *space, "hydra.sweeper.n_trials=5")
    points = [(params["x"], params["y"]) for params in sweeps.params()]
    assert len(points) == len(set(points)) == 5
    sweeps.run("hydra.sweeper.study_name=t", *space)
    assert sorted((p["x"], p["y"]) for p in sweeps.params("t")) == [(x, y) for x in (1, 2, 3) for y in (1, 2)]


def test_a_proposal_that_is_a_binary_fraction_off_its_step_is_taken():
    study = optuna.create_study(sampler=optuna.samplers.GridSampler({"x": [0.1 + 0.2]}))
    space = Space({"x": Axis("x", FloatDistribution(0.1, 0.5, step=0.1), None)}, ())
    assert propose_unseen(study, space) == {"x": 0.3}


def test_a_point_that_the_sampler_proposes_again_is_not_run_again(sweeps):
    """The best is a corner, to which the sampler returns."""
    search = (NAME, "x=interval(1.0,2.0)", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=16")
    out = sweeps.run(*search)
    points = [params["x"] for params in sweeps.params()]
    assert len(points) == 16
    assert len(sweeps.started()) == len(set(points)) < 16
    trials = sweeps.study().trials
    again = [trial for trial in trials if "reused_from" in trial.user_attrs]
    assert len(again) == 16 - len(set(points))
    assert all(trial.value == trial.params["x"] ** 2 for trial in again)
    assert f"COMPLETE value 1 as {again[0].user_attrs['reused_from']}" in out
    sweeps.run(*search, "hydra.sweeper.confirm.top_k=2", "hydra.sweeper.confirm.num_seeds=2")
    confirmed = [line[3] for line in sweeps.started()[len(set(points)) :]]
    assert sorted(map(float, confirmed)) == sorted(2 * sorted(set(points))[:2])


def test_continuous_values_stay_in_the_box(sweeps):
    space = ("x=tag(log,interval(0.05,0.2))", "y=interval(0.05,0.5)", "hydra.sweeper.n_trials=8")
    out = sweeps.run(NAME, *space, "hydra.sweeper.sampler.seed=3", "hydra.sweeper.sampler.seed=3")
    assert len(sweeps.params()) == 8
    assert all(0.05 <= params["x"] <= 0.2 and 0.05 <= params["y"] <= 0.5 for params in sweeps.params())
    assert "\x1b" not in out
    assert len([line for line in out.splitlines() if line.startswith("trial 0")]) == 8
    assert "FutureWarning" not in out
    assert "ExperimentalWarning" not in out


needs_cmaes = pytest.mark.skipif(find_spec("cmaes") is None, reason="cmaes is not installed: pip install -e '.[cmaes]'")
SAMPLERS = ["gp", "tpe", "random", "qmc", "nsgaii", pytest.param("cmaes", marks=needs_cmaes)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_gives_the_same_table_twice(sweeps, sampler):
    space = ("x=interval(-2.0,2.0)", "y=interval(-2.0,2.0)", "hydra.sweeper.n_trials=3")
    for name in ("one", "two"):
        sweeps.run(*space, f"hydra/sweeper/sampler={sampler}", f"hydra.sweeper.study_name={name}")
    assert sweeps.params("one") == sweeps.params("two")


@needs_cmaes
def test_cmaes_needs_two_numbers(sweeps):
    out = sweeps.run("x=interval(0.0,1.0)", "name=a,b", "hydra/sweeper/sampler=cmaes", code=1)
    assert "sampler=cmaes needs two or more numbers to search, got x" in out
    assert "Traceback" not in out


@pytest.mark.skipif(find_spec("cmaes") is not None, reason="cmaes is installed")
def test_cmaes_without_its_package_is_one_line(sweeps):
    out = sweeps.run("x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra/sweeper/sampler=cmaes", code=1)
    assert "sampler=cmaes needs the package cmaes: pip install cmaes" in out
    assert "Traceback" not in out


def test_the_starting_points_come_first_and_must_be_in_the_box(sweeps):
    space = ("x=interval(0.0,1.0)", "y=interval(0.0,1.0)", "hydra.sweeper.n_trials=3")
    out = sweeps.run(NAME, *space, "hydra.sweeper.enqueue=[{x:0.07,y:2}]", code=1)
    assert "enqueue: y=2 is outside 0.0 to 1.0" in out
    assert not (sweeps.folder / "optuna.journal").exists()
    sweeps.run(NAME, *space, "hydra.sweeper.enqueue=[{x:0.07,y:0.1},{x:0.5,y:0.5}]")
    assert sweeps.params()[:2] == [{"x": 0.07, "y": 0.1}, {"x": 0.5, "y": 0.5}]
    assert len(sweeps.params()) == 3
    part = ("hydra.sweeper.study_name=part", *space, "hydra.sweeper.enqueue=[{x:1}]")
    for _ in range(2):
        sweeps.run(*part)
        assert sweeps.params("part")[0]["x"] == 1
        assert sweeps.states("part") == ["COMPLETE"] * 3
    sweeps.run("hydra.sweeper.study_name=fixed", *space, "x=0.3", "hydra.sweeper.enqueue=[{x:0.07,y:0.1}]")
    assert sweeps.params("fixed")[0] == {"y": 0.1}


def test_a_dry_run_touches_nothing(sweeps):
    out = sweeps.run(NAME, "x=1,2,3", "y=1,2", "hydra.sweeper.dry_run=true")
    assert "a grid of 6 trials" in out
    assert "005 x=3 y=2" in out
    out = sweeps.run(NAME, "x=interval(0,1)", "hydra.sweeper.n_trials=9", "hydra.sweeper.dry_run=true")
    assert "9 trials" in out
    assert "4 more depend on the results" in out
    assert list(sweeps.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["xx=1,2"], "Key 'xx' is not in struct"),
        (["x=interval(0,1)", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be at least 1, got 0"),
        (["x=1,2", "name=missing", "hydra.sweeper.preflight=app.preflight"], "there is no data called missing"),
        (
            ["x=1,2", "hydra.sweeper.storage=sqlite:///m.db", "tracking=sqlite:///m.db"],
            "storage and MLflow cannot share one database",
        ),
    ],
)
def test_bad_input_is_one_line_before_the_first_trial(sweeps, overrides, message):
    out = sweeps.run(*overrides, code=1)
    assert message in out
    assert "Traceback" not in out
    assert sweeps.started() == []


def test_a_damaged_journal_is_one_line_and_is_kept(sweeps):
    journal = sweeps.folder / "optuna.journal"
    journal.write_text("garbage\n")
    out = sweeps.run("x=1,2", code=1)
    assert f"{journal} is no journal of Optuna, or is damaged" in out
    assert "Traceback" not in out
    assert journal.read_text().startswith("garbage\n")


def test_results_are_files_and_the_best_config_runs(sweeps):
    sweeps.run(NAME, "x=2,1,3", "y=5", "name=b")
    folder = sweeps.folder / "runs/s"
    results = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert results["name"] == "optuna"
    assert results["best_params"] == {"x": 1}
    assert results["best_value"] == 26
    assert results["trials"] == {"COMPLETE": 3}
    rows = (folder / "trials.csv").read_text().splitlines()
    assert len(rows) == 4
    assert rows[0].startswith("trial,state,x,value")
    best = yaml.safe_load((folder / "best_config.yaml").read_text())
    assert (best["x"], best["y"], best["name"]) == (1, 5, "b")
    sweeps.run("--config-dir", str(folder), "--config-name", "best_config", "hydra/sweeper=optuna", "seed=7")
    assert sweeps.started()[-1][3:] == ["1", "5", "7"]


def test_several_seeds_are_averaged(sweeps):
    sweeps.run(NAME, "x=1,2", "hydra.sweeper.seeds=[1,2,3]", "noise=0.5")
    assert [line[5] for line in sweeps.started()] == ["1", "2", "3"] * 2
    for trial in sweeps.study().trials:
        values = [value for (value,) in trial.user_attrs["seed_values"]]
        assert len(set(values)) == 3
        assert math.isclose(trial.value, sum(values) / 3)


def test_the_confirm_stage_can_overturn_a_lucky_single_run(sweeps):
    confirm = ("hydra.sweeper.confirm.top_k=2", "hydra.sweeper.confirm.num_seeds=6")
    lucky = ("x=1,1.1", "lucky_x=1.1", "lucky=0.5", "noise=0.0001")  # with the seed of the search
    sweeps.run(NAME, *lucky, *confirm, "hydra.sweeper.confirm.baseline={x:3}")
    results = yaml.safe_load((sweeps.folder / "runs/s/optimization_results.yaml").read_text())
    assert sweeps.study().best_params == {"x": 1.1}
    assert results["best_params"] == {"x": 1}
    assert results["confirm"]["chosen"] == "trial 0"
    assert results["confirm"]["arms"].keys() == {"trial 0", "trial 1", "baseline"}
    assert results["confirm"]["against_baseline"]["verdict"].startswith("a gain: +8.0")
    assert len(sweeps.started()) == 2 + 3 * 6
    sweeps.run(NAME, *lucky, *confirm, "hydra.sweeper.confirm.baseline={x:3}")
    assert len(sweeps.started()) == 2 + 3 * 6


def test_a_configuration_that_can_hardly_win_runs_no_further_seeds(sweeps):
    race = ("hydra.sweeper.seeds=[1,2,3]", "hydra.sweeper.race=true", "noise=2")
    sweeps.run(NAME, "x=1.0,1.1,0.9,1.05,0.95,50,1.02", *race)
    *near, far, last = sweeps.study().trials
    assert {trial.state.name for trial in (*near, last)} == {"COMPLETE"}
    assert (far.state.name, len(far.user_attrs["seed_values"])) == ("PRUNED", 1)
    assert far.user_attrs["reason"] == "after 1 of 3 seeds it can hardly become the best"
    assert len(sweeps.started()) == 6 * 3 + 1
    rows = (sweeps.folder / "runs/s/trials.csv").read_text().splitlines()
    assert "PRUNED" in rows[6]
    assert rows[6].endswith("it can hardly become the best")


def test_a_confirm_stage_that_four_seeds_decide_ends_there_and_stays_ended(sweeps):
    command = (NAME, "x=1,2", "noise=0.0001", "hydra.sweeper.confirm.top_k=1", "hydra.sweeper.confirm.num_seeds=10")
    command += ("hydra.sweeper.confirm.stop_early=true", "hydra.sweeper.confirm.baseline={x:3}")
    assert "stopped: 4 seeds decide it" in sweeps.run(*command)
    assert len(sweeps.started()) == 2 + 2 * 4
    results = yaml.safe_load((sweeps.folder / "runs/s/optimization_results.yaml").read_text())
    assert results["confirm"]["against_baseline"]["verdict"].startswith("a gain: +8.0")
    sweeps.run(*command)
    assert len(sweeps.started()) == 2 + 2 * 4
