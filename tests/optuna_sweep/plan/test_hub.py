"""Samplers of OptunaHub, from a folder that has the layout of its registry."""

import optuna
import pytest

from optuna_sweep.errors import SweepError
from optuna_sweep.plan.samplers import make_sampler
from support.plans import planned

PACKAGE = """
import optuna
from optuna.samplers import TPESampler

__all__ = ["Shifted"]


class Shifted(optuna.samplers.RandomSampler):
    def __init__(self, seed=None, shift=0):
        if shift < 0:
            raise ValueError("shift must be positive")
        super().__init__((seed or 0) + shift)
"""
HUB = ("x=interval(0,1)", "hydra/sweeper/sampler=hub")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "registry/samplers/shifted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    pytest.importorskip("optunahub", reason="the optional extra hub is not installed")
    return (*HUB, "hydra.sweeper.sampler.registry=registry", "hydra.sweeper.sampler.name=samplers/shifted")


def test_a_package_s_sampler_gets_its_arguments_and_a_seed(registry):
    with planned(*registry, "+hydra.sweeper.sampler.arguments.shift=5", "hydra.sweeper.sampler.seed=2") as (plan, _):
        study = optuna.create_study(sampler=make_sampler(plan.settings.sampler, plan.sampler, 0))
    expected = optuna.create_study(sampler=optuna.samplers.RandomSampler(7))
    distribution = plan.space.distributions["x"]
    assert type(study.sampler).__name__ == "Shifted"
    assert study.ask({"x": distribution}).params == expected.ask({"x": distribution}).params


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.sweeper.sampler.name=samplers/missing", "samplers/missing cannot be loaded from registry: "),
        (
            "hydra.sweeper.sampler.class_name=Nothing",
            "class_name must be one of TPESampler, Shifted of samplers/shifted",
        ),
        ("+hydra.sweeper.sampler.arguments.shift=-1", "samplers/shifted: shift must be positive"),
        ("+hydra.sweeper.sampler.arguments.shaft=1", "unexpected keyword argument 'shaft'"),
    ],
)
def test_what_the_package_has_not_is_one_line_before_the_first_trial(registry, override, message):
    with pytest.raises(SweepError, match=message), planned(*registry, override):
        pass


def test_without_the_package_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "optunahub", None)
    with pytest.raises(SweepError, match="needs the package optunahub"), planned(*HUB, "hydra.sweeper.sampler.name=a"):
        pass
