"""What a sweep checks before its first trial, and in dry runs: every point; then the first one with its stores.

`hydra.sweeper.check` and `hydra.sweeper.preflight` of conf/train.yaml name the two functions.
"""

import json
from collections.abc import Hashable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from contrastive_app.checks import check_places
from contrastive_app.command_line import check_keys
from contrastive_app.interrupts import close_first
from contrastive_app.launched import num_launched
from contrastive_app.parts import Parts, build_parts, load_data, objective_names, wants_report
from contrastive_app.places import CONF

if TYPE_CHECKING:
    from contrastive_learning.data.responses import DataSource


def check_point(config: DictConfig) -> None:
    """Check a configuration of a sweep: options, whether encoder and data are there. Quick for similar ones.

    Raises ValueError, or what Hydra raises for a node that cannot be built.
    """
    check_keys(config, CONF)
    parts = build_parts(config, _built_once)
    if str(config.sampler.get("_target_", "")).startswith("contrastive_learning."):
        _check_sampler(parts)
    objective_names(config)
    _check_encoder(parts.recipe.encoder, config.data.max_length)
    _check_data(cast("Hashable", parts.source))


def preflight(config: DictConfig) -> str:
    """Check the configuration of a sweep's first trial. Returns the fingerprint of its data. After it, trials run.

    Raises ValueError, or what Hydra raises for a node that cannot be built: the sweep then ends before its first trial.
    """
    check_keys(config, CONF)
    if num_launched() > 1:
        raise ValueError("a sweep starts its processes itself: run it without torchrun and accelerate launch")
    wants_report(config, in_sweep=True)
    parts = build_parts(config)
    objective_names(config)
    check_places(parts.tracking, parts.settings)
    if parts.loss.weights:
        load_data(config, parts)  # only the data tell whether there is one weight per criterion
    fingerprint = parts.source.fingerprint()  # anew: a notebook may sweep again, when the data have changed
    close_first()
    return fingerprint


def _check_sampler(parts: Parts) -> None:
    """Have the sampler check its options on two responses; one of somebody else's may need other ones."""
    import numpy as np

    from contrastive_learning.samplers import Examples

    votes, two = np.array([[0], [1]]), np.arange(2)
    parts.make_sampler(Examples(votes, np.ones_like(votes), lengths=two, texts=two, domains=two))


@cache
def _check_encoder(encoder: Any, max_length: int) -> None:
    encoder.check(max_length)


@cache
def _check_data(source: Hashable) -> None:
    cast("DataSource", source).fingerprint()


def _built_once(node: DictConfig) -> Any:
    try:
        return _built(json.dumps(OmegaConf.to_container(node, resolve=True), ensure_ascii=False))
    except HydraException:
        return instantiate(node, _convert_="all")  # fails too, and names the node's place


@cache
def _built(node: str) -> Any:
    return instantiate(json.loads(node), _convert_="all")
