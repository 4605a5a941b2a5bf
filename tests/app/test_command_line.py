import os
import re
import signal

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin

from contrastive_app.command_line import as_set, explain
from contrastive_app.places import CONF, STUDIES
from contrastive_app.studies import StudiesSearchPath, find_studies_by_name
from contrastive_app.train import main

LOSSES = ", ".join(sorted(file.stem for file in (CONF / "loss").glob("*.yaml")))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loss=supconn",
            rf"there is no loss=supconn \(did you mean supcon\?\): {LOSSES}",
        ),
        ("loss=", f"there is no loss=: {LOSSES}"),
        ("hydra/launcher=slrm", r"there is no hydra/launcher=slrm \(did you mean slurm\?\): .*local, .*slurm"),
        ("hydra/sweeper=optun", r"there is no hydra/sweeper=optun \(did you mean optuna\?\): .*optuna"),
        (
            "hydra/sweeper/sampler=gpp",
            r"there is no hydra/sweeper/sampler=gpp \(did you mean gp\?\): auto, cmaes, gp, .*, tpe",
        ),
        (
            "hydra/sweeper/pruner=medan",
            r"there is no hydra/sweeper/pruner=medan \(did you mean median\?\): hyperband, .*",
        ),
    ],
)
def test_an_unknown_choice_lists_the_choices_and_the_nearest(override, message):
    with pytest.raises(HydraException) as caught, initialize_config_dir(str(CONF), version_base="1.3"):
        compose("train", overrides=[override])
    assert re.fullmatch(message, explain(caught.value, CONF))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.path=한글", "like 한글 needs quotes inside quotes: \"data.path='한글'\""),
        ("data.source.criteria=[일관, 구체]", "quotes: \"data.source.criteria=['일관','구체']\""),
        ("epochs", "epochs: an option needs a value, epochs=… (did you mean trainer.epochs?)"),
    ],
)
def test_an_override_that_hydra_cannot_read_is_told_as_it_must_be(override, message):
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(HydraException) as caught:
        compose("train", [override])
    assert explain(caught.value, CONF).endswith(message)


def test_an_unknown_study_lists_the_studies_and_the_nearest():
    with pytest.raises(HydraException) as caught, initialize_config_dir(str(STUDIES), version_base="1.3"):
        compose("temperature_lambd")
    message = explain(caught.value, CONF)
    assert message.startswith(
        "there is no --config-name temperature_lambd (did you mean temperature_lambda?): borderline"
    )
    assert "\n" not in message


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("PASSIVE", "2000")),
        ({"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7")),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
    ],
)
def test_waiting_threads_sleep_after_a_moment_unless_the_user_wants_otherwise(given, expected, monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["contrastive-train", "--version"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit):
            main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert (os.environ["OMP_WAIT_POLICY"], os.environ.get("GOMP_SPINCOUNT")) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config-name", "smoke"], True),
        (["--config-name=smoke"], True),
        (["-m", "-cn", "smoke"], True),
        (["--help"], False),
        (["--config-dir", "sweeps", "loss=bce"], False),
    ],
)
def test_the_studies_are_searched_only_if_a_configuration_is_named(arguments, expected, monkeypatch):
    monkeypatch.setattr(Singleton, "_instances", {})  # a scan of its own
    find_studies_by_name(arguments)
    assert (StudiesSearchPath in Plugins.instance().discover(SearchPathPlugin)) is expected


@pytest.mark.parametrize(
    ("override", "line", "expected"),
    [
        ("model.lr=-1", "optimizer.lr must be positive", "model.lr must be positive"),
        ("optimizer.lr=-1", "optimizer.lr must be positive", "optimizer.lr must be positive"),
        ("seed=0", "trainer.monitor must be a val/ metric", "objective.metric must be a val/ metric"),
        ("seed=0", "loss.nothing is not there", "loss.nothing is not there"),
        ("seed=0", "the model must be trained", "the model must be trained"),
    ],
)
def test_an_option_is_named_by_what_sets_it(override, line, expected):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert as_set(line, compose("train", [override])) == expected
