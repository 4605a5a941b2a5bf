"""One `sweep()` from the command line to the files at its end."""

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.contrastive_sweeper._errors import SweepError
from hydra_plugins.contrastive_sweeper._loop import Loop
from hydra_plugins.contrastive_sweeper._plan import Plan, compose, make_plan
from hydra_plugins.contrastive_sweeper._preview import print_preview
from hydra_plugins.contrastive_sweeper._progress import Progress
from hydra_plugins.contrastive_sweeper._record import MlflowRecord, NoRecord, Record
from hydra_plugins.contrastive_sweeper._results import choose, print_table, write_files
from hydra_plugins.contrastive_sweeper._samplers import make_pruner
from hydra_plugins.contrastive_sweeper._slots import Slots, slots_of
from hydra_plugins.contrastive_sweeper._study import Ledger, free_name, import_known, open_ledger
from hydra_plugins.contrastive_sweeper._trial import RecordedTask
from hydra_plugins.contrastive_sweeper.sweeper import OptunaSweeperConf


def sweep(
    settings: OptunaSweeperConf,
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    arguments: Sequence[str],
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plan = make_plan(settings, context, config, arguments)
    if settings.dry_run:
        print_preview(plan)
        return
    with _interruptible():
        _run(plan, context, task)


def _run(plan: Plan, context: HydraContext, task: TaskFunction) -> None:
    ledger = _open_study(plan, context)
    record = _open_record(plan)
    launcher = Plugins.instance().instantiate_launcher(
        config=plan.config, hydra_context=context, task_function=RecordedTask(task)
    )
    slots = slots_of(launcher, plan.settings.n_jobs, plan.settings.trial_timeout)
    try:
        _search(plan, ledger, record, slots, context)
    finally:
        slots.stop()


def _search(plan: Plan, ledger: Ledger, record: Record, slots: Slots, context: HydraContext) -> None:
    outcome = "failed"
    with Progress(plan, slots.num_slots, live=slots.streams) as progress:
        loop = Loop(plan, ledger, record, slots, progress)
        try:
            loop.recover()
            _queue(plan, ledger, progress)
            ended = loop.run()
            outcome = "ok"
        except KeyboardInterrupt as interrupt:
            _ignore_signals()
            outcome = "interrupted"
            slots.stop()
            loop.interrupt()
            progress.say(f"interrupted; the same command continues: {_command()}")
            sys.exit(143 if "SIGTERM" in interrupt.args else 130)
        finally:
            slots.stop() if outcome != "ok" else None
            choice = choose(ledger)
            files = write_files(plan, ledger, choice, context)
            metrics = {} if choice is None else {"best/value": choice.trial.values[0]}
            record.finish(outcome, metrics, {}, files)
    if ended != "done":
        progress.say(f"stopped: {ended}")
    if choice is None:
        raise SweepError(f"no trial is COMPLETE; the first error was: {loop.limits.first_error}")
    print_table(plan, ledger, progress.console)
    progress.say(f"Results: {plan.sweep_dir}")


def _open_study(plan: Plan, context: HydraContext) -> Ledger:
    fingerprint = _preflight(plan, context)
    pruner = make_pruner(plan.settings.pruner)
    ledger = open_ledger(plan.storage, plan.study_name, plan.directions, plan.identity(fingerprint), pruner)
    return ledger


def _preflight(plan: Plan, context: HydraContext) -> str | None:
    """The app's own checks on the first configuration, before any trial."""
    if plan.settings.preflight is None:
        return None
    try:
        check = get_method(plan.settings.preflight)
    except (HydraException, ValueError, ImportError) as error:
        raise SweepError(f"preflight: {error}") from error
    fingerprint = check(OmegaConf.create(compose(context, plan.config, plan.space.fixed)))
    return None if fingerprint is None else str(fingerprint)


def _open_record(plan: Plan) -> Record:
    settings = plan.settings
    if settings.mlflow_uri is None:
        return NoRecord()
    tags = {"sweep.metric": ", ".join(plan.metrics), "sweep.direction": ", ".join(plan.directions)}
    return MlflowRecord(_absolute(settings.mlflow_uri), settings.mlflow_experiment or "Default", plan.study_name, tags)


def _queue(plan: Plan, ledger: Ledger, progress: Progress) -> None:
    if plan.settings.enqueue:
        ledger.add_missing(plan.settings.enqueue)
    if plan.points is not None:
        ledger.add_missing(plan.points)


def _absolute(uri: str) -> str:
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{Path(path).expanduser().resolve()}"


def _command() -> str:
    """The command line as a shell takes it."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    start = ["python", "-m", module.name] if module is not None else ["python", sys.argv[0]]
    return shlex.join([*start, *sys.argv[1:]])


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends a sweep as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, _raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _raise_interrupt(signum: int, frame: FrameType | None) -> Any:
    raise KeyboardInterrupt(signal.Signals(signum).name)


def _ignore_signals() -> None:
    """A second one would break off the clean-up."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
