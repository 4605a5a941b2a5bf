"""What a run is made of: the parts that its configuration names, its objective, its record."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.contrastive_sweeper.trial import ConfigurationError, CurrentTrial
from src.command_line import check_keys, quoted
from src.launched import is_follower, num_launched
from src.values import check_values

if TYPE_CHECKING:
    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.dataset import TokenizedData, TokenizedSplit
    from contrastive_learning.evaluation import Evaluation
    from contrastive_learning.pictures import RunPictures
    from contrastive_learning.samplers.examples import BatchSampler
    from contrastive_learning.tracking import Run, Tracker

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
PREFIXES = {"valid": "val", "test": "test", "test_ood": "test_ood"}  # held-out split -> metric prefix
EVAL_BATCH_SIZE = 128
RUN_FILE = "run.json"  # in the output folder
METRICS_FILE = "metrics.json"  # there, too
MAY_CHANGE_ON_RESUME = (
    "trainer.epochs",
    "trainer.patience",
    "trainer.device",
    "trainer.compile",
    "trainer.resume_from",
    "trainer.held_out_each_epoch",
    "tracking.",
    "data.cache_dir",
)

Objective = float | tuple[float, ...]


class Parts(NamedTuple):
    settings: Any  # TrainerSettings
    recipe: Any  # ModelRecipe
    loss: Any  # JointLoss
    optimizer: Any
    make_sampler: Any
    source: Any  # DataSource
    tracking: "Tracker"
    pictures: Any  # PictureSettings


def build_parts(config: DictConfig) -> Parts:
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
    )
    return Parts(*(instantiate(node, _convert_="all") for node in nodes))


def preflight(config: DictConfig) -> str:
    """What a sweep checks before its first trial. Returns the fingerprint of the data."""
    check_keys(config, CONF)
    if num_launched() > 1:
        raise ValueError("a sweep starts its processes itself: run it without torchrun and accelerate launch")
    parts = build_parts(config)
    objective_names(config)
    if parts.loss.weights:
        load_data(config, parts)  # only the data tell whether there is one weight a criterion
    fingerprint: str = parts.source.fingerprint()
    return fingerprint


def objective_names(config: DictConfig) -> tuple[str, ...]:
    metric = config.objective.metric
    names = (metric,) if isinstance(metric, str) else tuple(metric)
    for name in names:
        if "total_loss" in name or "contrastive_loss" in name:
            raise ValueError(f"objective.metric must not depend on temperature or lambda by construction, got {name}")
    return names


def objectives_of(metrics: Mapping[str, float], names: tuple[str, ...]) -> tuple[float, ...]:
    from contrastive_learning.choices import did_you_mean

    for name in names:
        if name not in metrics:
            raise ValueError(f"objective.metric: no {name} each epoch{did_you_mean(name, metrics)}")
    return tuple(float(metrics[name]) for name in names)


def run_name(config: DictConfig) -> str:
    """sample tiny supcon τ=0.07 λ=0.1"""
    choices, loss = HydraConfig.get().runtime.choices, config.loss
    chosen = [choices[group] for group in ("data", "model", "loss") if group in choices]
    if loss.lambda_contrastive > 0:
        chosen += [f"τ={loss.temperature:.3g}", f"λ={loss.lambda_contrastive:.3g}"]
    return " ".join(chosen)


def output_folder(config: DictConfig, trial: CurrentTrial) -> Path:
    """Where the run writes: a folder of its own, or that of the interrupted run it continues.

    Raises ValueError where that one had other options: its record would no longer tell what was run; and for a new
    run in the folder of another, whose files it would overwrite.
    """
    from contrastive_learning.processes import of_the_main_process

    if config.trainer.resume_from is None:
        new = Path(of_the_main_process(HydraConfig.get().runtime.output_dir)).resolve()
        if (new / RUN_FILE).exists() and not trial.continues:
            option = quoted("trainer.resume_from", str(new))
            raise ValueError(f"{new} holds another run: continue that with {option}, or move it away")
        return new
    folder = Path(config.trainer.resume_from).expanduser().resolve()
    if not (folder / RUN_FILE).exists():
        raise ValueError(f"trainer.resume_from must be the output folder of an interrupted run, got {folder}")
    before, now = json.loads((folder / RUN_FILE).read_text())["config"], _fixed_options(config)
    differing = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if differing:
        was = ", ".join(f"{key}={before.get(key)} (now {now.get(key)})" for key in differing[:5])
        raise ValueError(f"the run in {folder} had other options: {was}; repeat them to continue it")
    return folder


def is_continued(config: DictConfig, output: Path, trial: CurrentTrial) -> bool:
    """There is a checkpoint to go on from: the one asked for, or that of an interrupted trial."""
    from contrastive_learning.checkpoints import INDEX

    return config.trainer.resume_from is not None or (trial.continues and (output / "checkpoints" / INDEX).exists())


def _fixed_options(config: DictConfig) -> dict[str, Any]:
    from contrastive_learning.provenance import flatten

    options = flatten(OmegaConf.to_container(config, resolve=True))
    return {key: value for key, value in options.items() if not key.startswith(MAY_CHANGE_ON_RESUME)}


@contextmanager
def open_run(
    config: DictConfig, tracking: "Tracker", output: Path, trial: CurrentTrial, tags: Mapping[str, str]
) -> Iterator["Run"]:
    """Open a run, or the one that a resumed output folder belongs to. A trial has a name of its own."""
    from contrastive_learning.interrupts import HeldSignals
    from contrastive_learning.provenance import git_state
    from contrastive_learning.tracking import NoTracking

    if is_follower():
        yield NoTracking()
        return
    run_file = output / RUN_FILE
    resumed = json.loads(run_file.read_text())["run_id"] if run_file.exists() else None
    git = {f"git.{name}": value for name, value in git_state(ROOT).items()}
    name = trial.run_name or run_name(config)
    with ExitStack() as closed:
        with HeldSignals():  # nobody would close a run that is interrupted here
            run = tracking.open(name, {**tags, **git, **trial.tags()}, resume_run_id=resumed).kept_in(output)
            closed.enter_context(run)
            content = {"run_id": run.run_id, "config": _fixed_options(config)}
            run_file.write_text(json.dumps(content, ensure_ascii=False))
        yield run


def load_data(config: DictConfig, parts: Parts) -> "TokenizedData":
    """Raises ConfigurationError where the loss has weights for other criteria."""
    from contrastive_learning.dataset import tokenize

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
    return data.with_training_sample(config.data.train_examples, config.seed)


def build_trainer(
    config: DictConfig,
    parts: Parts,
    data: "TokenizedData",
    batches: "BatchSampler",
    output: Path,
    on_step: Callable[[int, int, Any], None],
) -> "ContrastiveTrainer":
    from torch.utils.data import DataLoader

    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.devices import resolve_device, seed_everything
    from contrastive_learning.processes import rank

    seed_everything(config.seed)
    model = parts.recipe.build(data.tokenizer, data.yes_rates)
    if rank() > 0:
        seed_everything(config.seed + rank())  # the same weights, but not the same dropout masks
    train = data.splits["train"]
    on_gpu = resolve_device(parts.settings.device) == "cuda"
    held_out = {
        prefix: DataLoader(split, batch_sampler=split.batches_by_length(EVAL_BATCH_SIZE), collate_fn=split.collate)
        for prefix, split in ((prefix, data.splits.get(name)) for name, prefix in PREFIXES.items())
        if split is not None
    }
    return ContrastiveTrainer(
        model,
        DataLoader(train, batch_sampler=batches, collate_fn=train.collate, pin_memory=on_gpu),
        held_out.pop("val"),
        parts.settings.device,
        parts.settings,
        loss=parts.loss,
        optimizer=parts.optimizer,
        criteria=data.criteria,
        held_out=held_out,
        checkpoint_dir=output / "checkpoints",
        on_step=on_step,
    )


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


def record_embeddings(
    run: "Run",
    output: Path,
    splits: Mapping[str, "TokenizedSplit"],
    evaluations: Mapping[str, "Evaluation"],
) -> None:
    from contrastive_learning.evaluation import write_embeddings

    for name, prefix in PREFIXES.items():
        if prefix in evaluations:
            path = output / f"{name}.parquet"
            write_embeddings(path, splits[name], evaluations[prefix])
            run.artifact(path, "embeddings")


def record_judge(
    run: "Run",
    config: DictConfig,
    output: Path,
    data: "TokenizedData",
    trainer: "ContrastiveTrainer",
    valid: "Evaluation",
) -> str | None:
    """Record the trained judge so that it can be served. Returns its address, if it was."""
    from contrastive_learning.serving import export_judge

    export_judge(
        output / "judge",
        trainer.accelerator.unwrap_model(trainer.model),
        data.tokenizer,
        data.criteria,
        valid,
        max_length=config.data.max_length,
        prefix=config.data.prefix,
        precision=trainer.precision,
    )
    return run.model(output / "judge", data.criteria)


def write_metrics(output: Path, metrics: Mapping[str, float], kept_epoch: int, epochs: int) -> None:
    """For the report of a sweep, which needs no MLflow to read them."""
    content = {"kept_epoch": kept_epoch, "epochs": epochs, "metrics": dict(metrics)}
    (output / METRICS_FILE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def record_start(run: "Run", config: DictConfig, data: "TokenizedData", trainer: "ContrastiveTrainer") -> None:
    from contrastive_learning.provenance import environment, flatten, git_diff

    choices = {group: name for group, name in HydraConfig.get().runtime.choices.items() if group in config}
    run.params(choices | flatten(OmegaConf.to_container(config, resolve=True)))
    for split, context in (("train", "training"), ("valid", "validation")):
        run.data(
            f"{choices.get('data', 'data')} {split}",
            context,
            fingerprint=data.fingerprint,
            source=str(config.data.path if "path" in config.data else config.data.source._target_),
            num_responses=len(data.splits[split]),
        )
    run.text(OmegaConf.to_yaml(config, resolve=True), "config.yaml")
    run.text("\n".join(HydraConfig.get().overrides.task), "overrides.txt")
    machine = {"device": str(trainer.device), "precision": trainer.precision}
    run.text(json.dumps(environment() | machine, indent=2), "environment.json")
    if diff := git_diff(ROOT):
        run.text(diff, "uncommitted.diff")
