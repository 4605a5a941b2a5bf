"""Builds what a run is made of from its configuration: model, loss, optimizer, sampler, data, tracking, objective."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from contrastive_app.command_line import check_arguments
from contrastive_app.places import CONF
from contrastive_app.values import check_values
from hydra_plugins.contrastive_sweeper.trial import ConfigurationError

if TYPE_CHECKING:
    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.data.cutoff import Cutoff
    from contrastive_learning.data.disturbed import Disturbed
    from contrastive_learning.data.responses import DataSource
    from contrastive_learning.data.tokenized import TokenizedData, TokenizedSplit
    from contrastive_learning.data.with_unjudged import WithUnjudged
    from contrastive_learning.judging import Judge
    from contrastive_learning.losses import JointLoss
    from contrastive_learning.model import ModelRecipe
    from contrastive_learning.pictures import PictureSettings, RunPictures
    from contrastive_learning.samplers import BatchSampler, Examples
    from contrastive_learning.tracking import Tracker
    from contrastive_learning.training import Hooks, TrainerSettings
    from contrastive_learning.training.optimizers import Schedule

EVAL_TOKENS, EVAL_TOKENS_ON_GPU = 4096, 32768  # in a batch of an evaluation
ONLY_JUDGE = {"_target_": "contrastive_learning.judging.LinearJudge"}  # of configurations older than the group `judge`
Objective = float | tuple[float, ...]


class Parts(NamedTuple):
    """What the nodes of the configuration build, one field per node.

    `optimizer` and `make_sampler` are functions of what only a run has: the model, and the training responses.
    """

    settings: "TrainerSettings"
    recipe: "ModelRecipe"
    loss: "JointLoss"
    optimizer: "Callable[..., Schedule]"
    make_sampler: "Callable[[Examples], BatchSampler]"
    source: "DataSource"
    tracking: "Tracker"
    pictures: "PictureSettings"
    judge: "Judge"


def _instantiated(node: DictConfig) -> Any:
    return instantiate(node, _convert_="all")


def build_parts(config: DictConfig, build: Callable[[DictConfig], Any] = _instantiated) -> Parts:
    """build: makes the object of a node."""
    from contrastive_learning.data.cutoff import check_share

    check_values(config)
    nodes = (
        config.trainer,
        config.model,
        config.loss,
        config.optimizer,
        config.sampler,
        config.data.source,
        config.tracking,
        config.pictures,
        config.get("judge", ONLY_JUDGE),
    )
    parts = Parts(*(build(node) for node in nodes))
    for group, function in (("optimizer", parts.optimizer), ("sampler", parts.make_sampler)):
        if isinstance(function, partial):
            check_arguments(group, function, CONF)
    if str(config.optimizer.get("_target_", "")).startswith("contrastive_learning."):
        _check_optimizer(config.optimizer)
    parts.loss.check_views(parts.settings.views)
    check_share(view_cutoff(config), parts.settings.views)
    return parts


def _check_optimizer(options: DictConfig) -> None:
    """Check the options that all of our optimizers have. To build one would take seconds, before the data are read."""
    from contrastive_learning.training.optimizers import check_rates, check_schedule

    check_rates(options.lr, options.head_lr, options.layer_decay)
    check_schedule(options.schedule, options.warmup_ratio)


def wants_report(config: DictConfig, *, in_sweep: bool) -> bool:
    """Whether data.report is set. Raises ValueError if it is not true or false, or if it is set in a sweep."""
    wanted = OmegaConf.select(config, "data.report")  # None in configurations recorded before there was this option
    if not isinstance(wanted, bool | None):
        raise ValueError(f"data.report must be true or false, got {wanted}")
    if wanted and in_sweep:
        raise ValueError("data.report=true prints what is read of one data set and trains nothing: leave out -m")
    return wanted is True


def objective_names(config: DictConfig) -> tuple[str, ...]:
    """The metrics of `objective.metric`. Raises ValueError if one depends on the hyperparameters that are searched."""
    metric = config.objective.metric
    names = (metric,) if isinstance(metric, str) else tuple(metric)
    for name in names:
        if any(loss in name for loss in ("total_loss", "contrastive_loss", "instance_loss")):
            raise ValueError(f"objective.metric must not depend on temperature or lambda by construction, got {name}")
        _check_family(name)
    return names


def _check_family(name: str) -> None:
    """Raises ValueError for a metric of a held-out split that no data define; some depend on the data's criteria."""
    from contrastive_learning.choices import did_you_mean
    from contrastive_learning.data.responses import METRIC_PREFIXES
    from contrastive_learning.metrics.table import FAMILIES, METRICS

    prefix, _, rest = name.partition("/")
    if prefix in METRIC_PREFIXES.values() and rest.split("/")[0] not in FAMILIES:
        nearest = did_you_mean(name, [f"{prefix}/{metric.summary}" for metric in METRICS if metric.summary])
        raise ValueError(f"objective.metric must be a metric of every epoch, got {name}{nearest}")


def objectives_of(metrics: Mapping[str, float], names: tuple[str, ...]) -> tuple[float, ...]:
    """The value of each objective. Raises ValueError with the nearest name if a metric does not exist."""
    from contrastive_learning.choices import did_you_mean

    for name in names:
        if name not in metrics:
            nearest = did_you_mean(name, metrics)
            raise ValueError(f"objective.metric must be a metric of every epoch, got {name}{nearest}")
    return tuple(float(metrics[name]) for name in names)


def load_data(config: DictConfig, parts: Parts) -> "TokenizedData":
    """Tokenise the data of a run. Raises ConfigurationError if the loss has weights for other criteria, or the judge
    needs an extra for so many training responses.
    """
    from contrastive_learning.data.tokenized import tokenize

    data = tokenize(
        parts.source,
        parts.recipe.encoder,
        max_length=config.data.max_length,
        prefix=config.data.prefix,
        cache_dir=Path(config.data.cache_dir).expanduser().resolve(),
    )
    try:
        parts.loss.check_criteria(len(data.criteria))
    except ValueError as error:
        raise ConfigurationError(f"{error}: {', '.join(data.criteria)}") from error
    data = data.with_training_subset(config.data.train_examples, config.seed)
    try:
        parts.loss.check_domains(len(set(data.splits["train"].domains.tolist())))
        parts.judge.check(len(data.splits["train"]))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return data


class TrainingSet(NamedTuple):
    """What training draws its batches from, and what to say about responses without votes."""

    responses: "TokenizedSplit | WithUnjudged"
    batches: "BatchSampler"
    remarks: list[str]


def training_set(config: DictConfig, parts: Parts, data: "TokenizedData") -> TrainingSet:
    """The judged training responses, and in each batch some that nobody judged if a term of the loss can use them."""
    from contrastive_learning.data.with_unjudged import WithUnjudged
    from contrastive_learning.samplers import WithUnjudgedBatchSampler

    train, unjudged = data.splits["train"], data.unjudged
    batches, share = parts.make_sampler(train.examples()), parts.settings.unjudged_share
    remarks = unjudged_remarks(parts, 0 if unjudged is None else len(unjudged))
    if unjudged is None or share == 0 or not parts.loss.learns_without_votes(parts.settings.views):
        return TrainingSet(train, batches, remarks)
    both = WithUnjudged(train, unjudged)
    more = WithUnjudgedBatchSampler(batches, both.examples(), share=share, seed=config.seed)
    return TrainingSet(both, more, remarks)


def unjudged_remarks(parts: Parts, count: int) -> list[str]:
    """A line about `count` responses without votes: how they are used, or why they are not."""
    if count == 0 or parts.settings.unjudged_share == 0:
        return []
    if not parts.loss.learns_without_votes(parts.settings.views):
        return [
            f"left out: {count:,} responses without votes; with trainer.views=2 loss.instance_weight=0.1 (or "
            "loss=instance) they take part in training by their two views"
        ]
    share = parts.settings.unjudged_share
    return [
        f"{count:,} responses without votes take part in training by their two views: {share:g} per judged one in "
        "each batch (trainer.unjudged_share)"
    ]


def build_trainer(
    config: DictConfig,
    parts: Parts,
    data: "TokenizedData",
    training: TrainingSet,
    output: Path,
    hooks: "Hooks",
) -> "ContrastiveTrainer":
    from torch.utils.data import DataLoader

    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.data.responses import METRIC_PREFIXES
    from contrastive_learning.runtime.devices import resolve_device, seed_everything
    from contrastive_learning.runtime.processes import rank
    from contrastive_learning.serving import check_servable
    from contrastive_learning.training import RunContext

    seed_everything(config.seed)
    model = parts.recipe.build(data.tokenizer, data.yes_rates)
    check_servable(model)
    if rank() > 0:
        seed_everything(config.seed + rank())  # the same weights, but not the same dropout masks
    on_gpu = resolve_device(parts.settings.device) == "cuda"
    loader = partial(data.held_out_loader, num_tokens=EVAL_TOKENS_ON_GPU if on_gpu else EVAL_TOKENS)
    held_out = {prefix: loader(name) for name, prefix in METRIC_PREFIXES.items() if name in data.splits}
    return ContrastiveTrainer(
        model,
        DataLoader(
            training.responses,
            batch_sampler=training.batches,
            collate_fn=training.responses.collate,
            pin_memory=on_gpu,
        ),
        held_out.pop(METRIC_PREFIXES["valid"]),
        parts.settings.device,
        parts.settings,
        loss=parts.loss,
        optimizer=parts.optimizer,
        context=RunContext(
            criteria=data.criteria,
            held_out=held_out,
            disturbed=dict if parts.settings.steadiness == "never" else cache(partial(_disturbed, config, data)),
            checkpoint_dir=output / "checkpoints",
            hooks=hooks,
            judge=parts.judge,
            training=loader("train"),
        ),
        cutoff=_cutoff(config, data),
    )


def _cutoff(config: DictConfig, data: "TokenizedData") -> "Cutoff | None":
    from contrastive_learning.data.cutoff import Cutoff
    from contrastive_learning.data.inputs import start_tokens

    share = view_cutoff(config)
    if share == 0:
        return None
    start = start_tokens(data.tokenizer, config.data.prefix)
    return Cutoff(share=share, separator=data.tokenizer.sep_token_id, num_start=len(start), seed=config.seed)


def view_cutoff(config: DictConfig) -> float:
    """Share of the tokens that the second view does not see."""
    share: float = config.data.get("view_cutoff", 0.0)  # not in configurations recorded before there was this option
    return share


def _disturbed(config: DictConfig, data: "TokenizedData") -> "dict[str, Disturbed]":
    """Per metric prefix, the responses whose steadiness is measured."""
    from contrastive_learning.data.disturbed import disturbed
    from contrastive_learning.data.responses import METRIC_PREFIXES

    return {
        prefix: disturbed(
            data.splits[name], data.tokenizer, max_length=config.data.max_length, prefix=config.data.prefix
        )
        for name, prefix in METRIC_PREFIXES.items()
        if name in data.splits
    }


def build_pictures(parts: Parts, data: "TokenizedData", output: Path, objective: str) -> "RunPictures":
    from contrastive_learning.pictures import RunPictures

    return RunPictures(
        parts.pictures,
        data.splits["valid"],
        data.criteria,
        output,
        temperature=parts.loss.temperature,
        lambda_contrastive=parts.loss.lambda_contrastive,
        objective=objective,
    )
