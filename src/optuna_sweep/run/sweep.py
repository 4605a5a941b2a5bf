"""One `sweep()` from the command line to the files at its end."""

import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from mlflow_stores import redact
from optuna_sweep.errors import SweepError
from optuna_sweep.outcome import Confirmation, Outcome
from optuna_sweep.plan.plan import Plan, compose, make_plan
from optuna_sweep.plan.preview import print_preview
from optuna_sweep.plan.samplers import make_pruner
from optuna_sweep.record.note import describe
from optuna_sweep.record.parent import MlflowRecord, NoRecord, Record
from optuna_sweep.record.pictures import attach_report, draw_study, forgiving
from optuna_sweep.record.results import Choice, choose, print_summary, write_files
from optuna_sweep.record.show import Swept
from optuna_sweep.run.command import this_command
from optuna_sweep.run.confirm import arms_of, confirm_plan, findings
from optuna_sweep.run.loop import Loop
from optuna_sweep.run.progress import Progress
from optuna_sweep.run.slots import Slots, slots_of
from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.study.ledger import DONE, Ledger, import_known, open_ledger, open_patiently
from optuna_sweep.study.patience import AwayError, Patience, PatientStorage
from optuna_sweep.study.storage import resolve, storage_lock
from optuna_sweep.trial import RecordedTask


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
        try:
            _run(plan, context, task)
        except KeyboardInterrupt as interrupt:
            print(f"interrupted; the same command continues: {this_command()}", file=sys.stderr)
            sys.exit(143 if "SIGTERM" in interrupt.args else 130)


def _run(plan: Plan, context: HydraContext, task: TaskFunction) -> None:
    launcher = Plugins.instance().instantiate_launcher(
        config=plan.config, hydra_context=context, task_function=RecordedTask(task)
    )
    slots = slots_of(launcher, plan.settings.n_jobs, plan.settings.trial_timeout)
    try:  # a launcher that prepares its processes does so during the preflight
        identity = plan.identity(_preflight(plan, context))
        storage = open_patiently(plan.storage, plan.settings.storage_patience)
        ledger = _open(plan, identity, storage)
        if plan.points is not None and not plan.settings.fresh:
            import_known(ledger, plan.space)
        _search(plan, ledger, _open_record(plan), slots, context)
    finally:
        slots.stop()


def _search(plan: Plan, ledger: Ledger, record: Record, slots: Slots, context: HydraContext) -> None:
    outcome, choice = "failed", None
    try:
        _complete(plan, ledger, record, slots)
        choice = choose(ledger)
        if choice is not None and plan.settings.confirm.top_k > 0:
            choice = _confirm(plan, ledger, record, slots)
        outcome = "ok"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    finally:
        try:
            choice, places = _conclude(plan, ledger, record, context, outcome, choice)
        except AwayError:  # without the study only the parent run is to be closed
            _close(record, "failed" if outcome == "ok" else outcome)
            if outcome == "ok":
                raise
        except KeyboardInterrupt as interrupt:
            _settle_down(interrupt)
            _close(record, "interrupted")
            raise
    print_summary(plan, ledger, choice, places)


def _close(record: Record, outcome: str) -> None:
    with forgiving("end of the record yet"):
        record.finish(outcome, None, [])


def _conclude(
    plan: Plan, ledger: Ledger, record: Record, context: HydraContext, outcome: str, choice: Choice | None
) -> tuple[Choice | None, Mapping[str, str]]:
    """Write the files and the record. Returns what was chosen, and where a person can look at it."""
    choice = choice or choose(ledger)
    if outcome == "ok":
        record.wait()
    with ledger.locked():  # another command may end now too, with the same files and the same parent run
        files = write_files(plan, ledger, choice, context)
        if outcome == "ok" and record.parent_run_id is not None and choice is not None:
            found = Outcome.of(plan, ledger, choice.trial.number, choice.confirmation)
            files += [*draw_study(plan, ledger), *attach_report(plan, found, context)]
        places: Mapping[str, str] = {}
        with nullcontext() if outcome == "ok" else forgiving("end of the record yet"):
            record.reconcile(ledger.trials)
            places = _show(plan, ledger, record, choice)
            record.finish(outcome, None if choice is None else choice.trial, files)
    return choice, places


def _show(plan: Plan, ledger: Ledger, record: Record, choice: Choice | None) -> Mapping[str, str]:
    places: dict[str, str] = {}
    with forgiving("comparison in MLflow"):
        note = describe(plan, ledger, None if choice is None else choice.confirmed, this_command())
        places.update(record.show(Swept.of(plan, ledger), note))
    return places


def _complete(plan: Plan, ledger: Ledger, record: Record, slots: Slots) -> None:
    """Run what is left of the plan; on an interrupt leave nothing RUNNING."""
    with Progress(plan, slots.num_slots, live=slots.streams) as progress:
        loop = Loop(plan, ledger, record, slots, progress)
        try:
            loop.recover()
            ledger.add_missing(plan.settings.enqueue)
            ledger.add_missing(plan.points or [])
            ended = loop.run()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                _settle_down(error)
            slots.stop()
            ledger.storage.patience.hurry()
            with suppress(AwayError):  # the next start settles what is still RUNNING
                loop.abandon("interrupted" if isinstance(error, KeyboardInterrupt) else f"the sweep ended: {error}")
            raise
        if ended is not None:
            progress.say(f"stopped: {ended}")
        elif progress.num_finished == 0:
            num_done = ledger.count(*DONE)
            progress.say(f"{plan.study_name}: {num_done} of {plan.num_trials} trials are done, none is left to run")
        if ledger.best() is None:
            first = loop.limits.first_error
            raise SweepError("no trial is COMPLETE" + ("" if first is None else f"; the first error was: {first}"))


def _confirm(plan: Plan, ledger: Ledger, record: Record, slots: Slots) -> Choice | None:
    arms = arms_of(plan, ledger)
    stage = confirm_plan(plan, arms)
    stage_ledger = _open(stage, {"arms": {arm.name: arm.overrides for arm in arms}}, ledger.storage)
    _complete(stage, stage_ledger, record.of_study(stage.study_name, stage.label), slots)
    confirmation = Confirmation.of(arms, stage_ledger.trials)
    found = findings(plan, arms, confirmation)
    if found is None:
        return choose(ledger)
    chosen = next(arm.trial for arm in arms if arm.name == found["chosen"])
    return Choice(chosen, found, confirmation)


def _open(plan: Plan, identity: Mapping[str, Any], storage: PatientStorage) -> Ledger:
    lock, pruner = storage_lock(plan.storage), make_pruner(plan.settings.pruner)
    return open_ledger(storage, lock, plan.study_name, plan.directions, identity, pruner)


def _preflight(plan: Plan, context: HydraContext) -> str | None:
    """The app's own checks on the first configuration, before any trial."""
    if plan.settings.preflight is None:
        return None
    try:
        check = get_method(plan.settings.preflight)
    except (HydraException, ValueError, ImportError) as error:
        raise SweepError(f"preflight: {error}") from error
    try:
        fingerprint = check(OmegaConf.create(compose(context, plan.config, plan.space.overrides(plan.space.first))))
    except HydraException:
        raise
    except Exception as error:  # whatever the app's own check raises
        raise SweepError(str(error)) from error
    return None if fingerprint is None else str(fingerprint)


def _open_record(plan: Plan) -> Record:
    settings = plan.settings
    if settings.mlflow_uri is None:
        return NoRecord()
    facts = {"metric": ", ".join(plan.metrics), "direction": ", ".join(plan.directions), "sampler": plan.sampler}
    facts |= {f"space.{name}": description for name, description in plan.space.describe().items()}
    experiment = settings.mlflow_experiment or "Default"
    uri, ui = resolve(settings.mlflow_uri), settings.mlflow_ui
    from mlflow.exceptions import MlflowException

    try:
        patience = Patience(f"hydra.sweeper.mlflow_uri: {redact(uri)}", settings.storage_patience)
        return MlflowRecord(uri, experiment, plan.study_name, plan.label, facts, ui=ui, patience=patience)
    except MlflowException as error:
        raise SweepError(f"hydra.sweeper.mlflow_uri: {redact(uri)}: {error.message.splitlines()[0]}") from error


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


def _settle_down(interrupt: KeyboardInterrupt) -> None:
    """A second signal would break off the clean-up; and what was interrupted may hold a lock of SQLite."""
    traceback.clear_frames(interrupt.__traceback__)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
