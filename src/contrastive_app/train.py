"""The single entry point: build -> fit -> evaluate -> record -> return the objective.

python -m src.train loss=supcon loss.temperature=0.1
"""

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contrastive_app.checks import check_before_data, check_same_data
from contrastive_app.command_line import check_keys, explain, quoted
from contrastive_app.launched import (
    FOLLOWER_WAIT_SECONDS,
    WAIT_SECONDS,
    is_follower,
    wait_to_be_stopped,
)
from contrastive_app.parts import (
    Objective,
    build_parts,
    build_pictures,
    build_trainer,
    load_data,
    objective_names,
    objectives_of,
    training_set,
    wants_report,
)
from contrastive_app.paths import from_start
from contrastive_app.places import CONF
from contrastive_app.record import (
    LOG_FILE,
    describe_run,
    how_to_look,
    open_run,
    record_embeddings,
    record_judge,
    record_review,
    record_start,
    record_stuck,
    record_training_embeddings,
    write_metrics,
)
from contrastive_app.resume import is_continued, output_folder
from contrastive_app.secrets import append, redact_output
from contrastive_app.studies import find_studies_by_name
from hydra_plugins.contrastive_sweeper.trial import ConfigurationError, CurrentTrial, TrialPruned, current_trial
from optuna_sweep.errors import innermost

if TYPE_CHECKING:
    from contrastive_learning import ContrastiveTrainer
    from contrastive_learning.metrics.evaluation import Evaluation


class RecordedRun(NamedTuple):
    """What a training run has come to."""

    objective: Objective  # at the best epoch or, if the trial is pruned, at its last
    location: str  # of its record
    output: Path
    run_id: str | None = None
    model: str | None = None  # its address, if it is recorded


class _Latest:
    run: RecordedRun | None = None


def latest_run() -> RecordedRun | None:
    """The run that this process has trained last; None if it has trained none."""
    return _Latest.run


def train(config: DictConfig) -> Objective:
    """Train once as `config` says. Returns the objective at the best epoch or, if the trial is pruned, at its last.

    Raises ValueError outside a command of Hydra: `contrastive_app.python.train` is for notebooks and scripts.
    """
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().runtime, "output_dir"):
        raise ValueError(
            "train(config) works in a command that Hydra runs; in a notebook or script call train(overrides) "
            "of contrastive_app.python"
        )
    _Latest.run = run = _trained(config)
    return run.objective


def _trained(config: DictConfig) -> RecordedRun:
    # imported here, so that --help, --cfg job and mistyped overrides answer at once
    from contrastive_learning.data.outline import outline
    from contrastive_learning.runtime.devices import join_processes, leave_processes
    from contrastive_learning.runtime.interrupts import HeldSignals
    from contrastive_learning.runtime.processes import broadcast_from_main
    from contrastive_learning.training import Hooks
    from contrastive_learning.training.checkpoints import use_whole_checkpoint
    from contrastive_learning.training.comparison import comparison_remark
    from contrastive_learning.training.diagnostics import (
        anchor_report,
        is_stuck,
        remarks,
        stuck_remark,
        views_report,
        warm_up_report,
    )
    from contrastive_learning.training.progress import TrainingProgress, results_table

    parts = build_parts(config)
    join_processes(parts.settings.device)
    names = objective_names(config)
    trial = current_trial()
    output = output_folder(config, trial)
    check_before_data(
        parts.tracking,
        parts.settings.device,
        parts.recipe.encoder,
        max_length=config.data.max_length,
        output=output,
    )
    continued, damage = is_continued(config, output, trial), None
    if continued:
        check_same_data(output, parts.source.fingerprint())
        damage = broadcast_from_main(None if is_follower() else use_whole_checkpoint(output / "checkpoints"))
    data = load_data(config, parts)
    training = training_set(config, parts, data)
    keep = None if is_follower() else partial(append, output / LOG_FILE)
    progress = TrainingProgress(parts.settings.epochs, parts.settings.monitor, quiet=is_follower(), log=keep)
    report = (
        *training.remarks,
        *anchor_report(parts.loss, training.batches, data.criteria, views=parts.settings.views),
        *warm_up_report(parts.settings),
    )
    for remark in (*outline(data), *data.remarks, *report, *([] if damage is None else [damage])):
        progress.remark(remark)

    logged: set[str] = set()

    # the trainer calls these within `fit`, when `pictures` and `run` are there
    def picture(evaluations: Mapping[str, "Evaluation"], metrics: Mapping[str, float], epoch: int) -> None:
        png = pictures.at_epoch(evaluations["val"], epoch, objectives_of(metrics, names)[0])
        run.image(png, "val/embedding", epoch)

    def log(metrics: dict[str, float], epoch: int) -> None:
        # the objective first: MLflow's page that compares runs opens on the metric that was logged first
        run.log({name: metrics[name] for name in names} | metrics, epoch)
        logged.update(metrics)
        progress.on_epoch(metrics, epoch)
        progress.remark_once(remarks(metrics, data.criteria, parts.settings, epoch, projection=parts.loss.projection))
        if epoch > 0:
            _report(trial, metrics[names[0]], epoch)

    hooks = Hooks(progress.on_step, log=log) if is_follower() else Hooks(progress.on_step, picture, log)
    trainer = build_trainer(config, parts, data, training, output, hooks)
    encoder = trainer.accelerator.unwrap_model(trainer.model).encoder
    for remark in (
        f"device {trainer.device}, precision {trainer.precision}",
        *views_report(parts.settings.views, encoder),
    ):
        progress.remark(remark)
    pictures = build_pictures(parts, data, output, names[0])
    if continued:
        trainer.resume(output / "checkpoints")
        progress.epoch = trainer.epoch
    else:
        _check_metrics(trainer, names)

    tags = {"seed": str(config.seed), "data.fingerprint": data.fingerprint}
    with open_run(config, parts.tracking, output, trial, tags) as run, progress:
        if not continued:
            record_start(run, config, data, trainer)
        with HeldSignals() if is_follower() else nullcontext():  # the main process decides when to stop
            try:
                trainer.fit()
            except TrialPruned:
                progress.remark(f"pruned after epoch {trainer.epoch}")
            metrics, evaluations, epoch = trainer.result()
        objectives, served = objectives_of(metrics, names), None
        returned = objectives[0] if len(objectives) == 1 else objectives
        leave_processes()
        if is_follower():
            return RecordedRun(returned, run.location(), output)
        write_metrics(output, metrics, epoch, trainer.epoch)
        reached = dict(zip(names, objectives, strict=True))
        remedies = []
        if is_stuck(metrics, parts.settings, trainer.epoch):
            record_stuck(run, trial)
            remedies.append(stuck_remark(metrics))
        describe_run(run, reached, metrics, evaluations, epoch=epoch, remarks=remedies)
        if trainer.judge is not None:
            logged.clear()  # those of the epochs are the classification head's
        run.log({name: value for name, value in metrics.items() if name not in logged}, trainer.epoch)
        criterion = pictures.criterion_at_end(metrics, parts.loss.projection)
        mapped = data.criteria.index(criterion)
        record_embeddings(run, output, data.splits, evaluations, mapped)
        if trainer.judge is not None:
            record_training_embeddings(run, output, data.splits["train"], trainer.judge, mapped)
        for path, folder in pictures.at_end(evaluations["val"], epoch, objectives[0], criterion):
            run.artifact(path, folder)
        if not trial.pruned:
            run.log({f"final/{name}": value for name, value in reached.items()}, trainer.epoch)
            served = record_judge(run, config, output, data, trainer, evaluations["val"])
            record_review(run, output)
        if trial.number is None:  # of a sweep, only the best
            served = run.register() or served
    heading = f"Best epoch {epoch} of {trainer.epoch}"
    progress.results(results_table(metrics, data.criteria, evaluations, heading=heading))
    if trainer.judge is not None:
        progress.remark(comparison_remark(metrics))
    progress.remark(f"Recorded: {run.location()}")
    if served is not None:
        progress.remark(f"Model:    {served}")
    progress.remark(f"Output:   {output}")
    if trial.number is None and (viewer := how_to_look(config)) is not None:
        progress.remark(f"Next:     {viewer}")
    return RecordedRun(returned, run.location(), output, run.run_id, served)


def _report(trial: CurrentTrial, value: float, epoch: int) -> None:
    """Report a value to the study, which only rank 0 talks to. Raises TrialPruned in every process if it prunes."""
    from contrastive_learning.runtime.processes import broadcast_from_main

    pruned = False
    if not is_follower():
        trial.report(value, epoch)
        pruned = trial.should_prune()
    if broadcast_from_main(pruned):
        raise TrialPruned


def _check_metrics(trainer: "ContrastiveTrainer", names: tuple[str, ...]) -> None:
    """Raises ConfigurationError if a metric is misspelt: before anything is recorded, and at a sweep's first trial."""
    try:
        objectives_of(trainer.evaluate_start(), names)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def run_from_hydra(config: DictConfig) -> Objective | None:
    try:
        check_keys(config, CONF)
        config = from_start(config, Path(HydraConfig.get().runtime.cwd))
        if wants_report(config, in_sweep=HydraConfig.get().mode == RunMode.MULTIRUN):
            from contrastive_app.data_report import print_report

            print_report(config)
            return None
        return train(config)
    except (ValueError, OSError, FloatingPointError, HydraException, OmegaConfBaseException) as error:
        if HydraConfig.get().mode == RunMode.RUN:
            sys.exit(f"error: {_innermost(error)}")
        raise
    except RuntimeError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            wait_to_be_stopped(error, FOLLOWER_WAIT_SECONDS if is_follower() else WAIT_SECONDS)
        raise
    except KeyboardInterrupt:
        from contrastive_learning.training.checkpoints import INDEX

        output = config.trainer.resume_from or HydraConfig.get().runtime.output_dir
        if HydraConfig.get().mode == RunMode.RUN and not is_follower():
            option = quoted("trainer.resume_from", str(output))
            can_continue = Path(output, "checkpoints", INDEX).exists()
            how = f"; to continue, repeat the command with {option}" if can_continue else ""
            print(f"interrupted{how}", file=sys.stderr)
        raise


def _innermost(error: BaseException) -> str:
    """Hydra wraps what a constructor raises; the first cause is what a person needs. The sweep engine words its own."""
    return explain(error if "unexpected keyword" in str(error) else innermost(error), CONF)


def main() -> Any:
    """What start.main runs once it answers signals. Exit codes: see there."""
    # before torch is loaded: OpenMP threads that spin while they wait take the cores from other runs on this machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    redact_output()
    own = "HYDRA_FULL_ERROR" not in os.environ
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then hands its errors to us instead of printing them
    try:
        find_studies_by_name(sys.argv[1:])
        return run_from_hydra()
    except KeyboardInterrupt as interrupt:
        sys.exit(143 if "SIGTERM" in interrupt.args else 130)
    except (HydraException, OmegaConfBaseException, OSError) as error:  # an output folder that cannot be made
        wait_to_be_stopped(error)
        if not own:
            raise
        sys.exit(f"error: {_innermost(error)}")
    except BaseException as error:
        wait_to_be_stopped(error)
        raise
