"""Configurations in the form that hydra-optuna-sweeper documents, with the results that it documents."""

import pytest
import yaml

SPHERE = """
defaults:
  - config
  - override hydra/sweeper: optuna
  - override hydra/sweeper/sampler: {sampler}
  - _self_

hydra:
  sweeper:
    sampler:
      seed: 123
    direction: {direction}
    study_name: s
    storage: null
    n_trials: 20
    n_jobs: 1
    max_failure_rate: 0.0
    {space}
"""
PARAMS = "params: {x: 'range(-5.5, 5.5, step=0.5)', y: 'choice(-5, 0, 5)'}"
OLDER = "search_space: {x: {type: float, low: -5.5, high: 5.5, step: 0.5}, y: {type: categorical, choices: [-5, 0, 5]}}"


@pytest.fixture
def configured(sweeps):
    def run(text, *overrides, code=0):
        (sweeps.folder / "example.yaml").write_text(text)
        out = sweeps.run("--config-dir", str(sweeps.folder), "--config-name", "example", *overrides, code=code)
        file = sweeps.folder / "runs/s/optimization_results.yaml"
        return out, yaml.safe_load(file.read_text()) if file.exists() else None

    return run


@pytest.mark.parametrize("space", [PARAMS, OLDER])
def test_the_sphere(configured, sweeps, space):
    _, results = configured(SPHERE.format(sampler="tpe", direction="minimize", space=space))
    assert (results["name"], results["best_params"], results["best_value"]) == ("optuna", {"x": 0.0, "y": 0}, 0.0)
    assert len(sweeps.started()) == 20


def test_the_command_line_overrides_the_space_and_a_tilde_deletes_from_it(configured, sweeps):
    text = SPHERE.format(sampler="tpe", direction="minimize", space=PARAMS)
    _, results = configured(text, "x=choice(1,2)", "~hydra.sweeper.params.y", "y=3", "hydra.sweeper.n_trials=2")
    assert results["best_params"] == {"x": 1}
    assert results["best_value"] == 10
    assert {line[4] for line in sweeps.started()} == {"3"}


def test_the_grid_is_run_whole(configured, sweeps):
    space = PARAMS.replace("-5.5, 5.5", "-1.5, 1.5")
    text = SPHERE.format(sampler="grid", direction="minimize", space=space)
    _, results = configured(text, "hydra.sweeper.n_trials=66")
    assert results["best_params"] == {"x": 0.0, "y": 0}
    assert len({tuple(line[3:5]) for line in sweeps.started()}) == 18


def test_two_objectives_give_their_front(configured, sweeps):
    text = SPHERE.format(sampler="nsgaii", direction="[minimize, maximize]", space=PARAMS)
    _, results = configured(text, "kind=pair", "hydra.sweeper.n_trials=8")
    trials = sweeps.study().trials
    front = {trial.number for trial in sweeps.study().best_trials}
    dominated = {
        mine.number
        for mine in trials
        for other in trials
        if other.values[0] <= mine.values[0] and other.values[1] >= mine.values[1] and other.values != mine.values
    }
    assert front == {trial.number for trial in trials} - dominated
    assert {tuple(solution["values"]) for solution in results["solutions"]} == {
        tuple(trials[number].values) for number in front
    }


def test_a_search_space_of_another_form_is_one_line(configured):
    text = SPHERE.format(sampler="tpe", direction="minimize", space="search_space: {x: 'interval(0, 1)'}")
    out, _ = configured(text, code=1)
    assert "search_space.x must be {type, low, high} or {type, choices}, got interval(0, 1)" in out


def test_a_failure_rate_of_zero_ends_the_sweep_at_its_first_failure(configured, sweeps):
    text = SPHERE.format(sampler="tpe", direction="minimize", space=PARAMS)
    out, _ = configured(text, "failure=exception", code=1)
    assert "boom" in out
    assert sweeps.states() == ["FAIL"]
