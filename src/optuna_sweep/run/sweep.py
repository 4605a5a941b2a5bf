"""One `sweep()` from the command line to its end: plan, preflight, search, confirm, conclude."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import optuna
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState

from mlflow_stores import check_store, redact
from optuna_sweep.errors import SweepError
from optuna_sweep.outcome import Outcome, failures
from optuna_sweep.patience import AwayError, Patience
from optuna_sweep.plan.make_plan import find_function, make_plan
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.preview import announcement, print_preview
from optuna_sweep.plan.task_config import compose, flatten
from optuna_sweep.record.parent import MlflowRecord, NoRecord, Record
from optuna_sweep.record.results import print_summary
from optuna_sweep.run.choice import Choice, choose
from optuna_sweep.run.command import this_command
from optuna_sweep.run.conclusion import close_record, conclude
from optuna_sweep.run.confirm import arms_of, confirm_plan, confirmation_of, findings, fresh_seeds
from optuna_sweep.run.interrupts import ignore_further_signals, interruptible
from optuna_sweep.run.loop import Loop
from optuna_sweep.run.progress import Progress
from optuna_sweep.run.slots import Slots, slots_of
from optuna_sweep.settings import OptunaSweeperConf
from optuna_sweep.states import SweepState
from optuna_sweep.study.ledger import DONE, Ledger, import_known, open_ledger, open_patiently
from optuna_sweep.study.patient_storage import PatientStorage
from optuna_sweep.study.pruner import make_pruner
from optuna_sweep.study.storage import check_storage, resolve, storage_lock
from optuna_sweep.trial import RecordedTask


class EndedSweep(NamedTuple):
    """A sweep that has come to its end."""

    outcome: Outcome
    places: Mapping[str, str]  # what a person can open -> its address
    parent_run_id: str | None  # in MLflow
    failed: Mapping[int, str]  # number -> reason of each trial that failed in this command and was not repeated well


class _Latest:
    sweep: EndedSweep | None = None


def latest_sweep() -> EndedSweep | None:
    """The sweep that this process has ended last; None if it has ended none."""
    return _Latest.sweep


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
    with interruptible():
        try:
            _run(plan, context, task)
        except KeyboardInterrupt as interrupt:
            print(f"interrupted; the same command continues: {redact(this_command())}", file=sys.stderr)
            sys.exit(143 if "SIGTERM" in interrupt.args else 130)


def _run(plan: Plan, context: HydraContext, task: TaskFunction) -> None:
    launcher = Plugins.instance().instantiate_launcher(
        config=plan.config, hydra_context=context, task_function=RecordedTask(task)
    )
    slots = slots_of(launcher, plan.settings.n_jobs, plan.settings.trial_timeout)
    try:  # a launcher that prepares its processes does so during the preflight
        check_storage(plan.storage)
        identity = plan.identity(_preflight(plan, context))
        storage = open_patiently(plan.storage, plan.settings.storage_patience)
        ledger = _open(plan, identity, storage)
        if plan.points is not None and not plan.settings.fresh:
            import_known(ledger, plan.space.points(), plan.space.distributions)
        _search(plan, ledger, _open_record(plan), slots, context)
    finally:
        slots.stop()


def _search(plan: Plan, ledger: Ledger, record: Record, slots: Slots, context: HydraContext) -> None:
    state: SweepState = "failed"
    choice: Choice | None = None
    failed_before = {trial.number for trial in ledger.trials if trial.state == TrialState.FAIL}
    try:
        _complete(plan, ledger, record, slots, announcement(plan, ledger.count(*DONE)))
        choice = choose(plan, ledger)
        if choice is not None and plan.settings.confirm.is_wanted:
            choice = _confirm(plan, ledger, record, slots, context)
        state = "ok"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    finally:
        try:
            outcome, places = conclude(plan, ledger, record, context, state, choice)
        except AwayError:  # without the study only the parent run is to be closed
            close_record(record, "failed" if state == "ok" else state)
            if state == "ok":
                raise
        except KeyboardInterrupt as interrupt:
            ignore_further_signals(interrupt)
            close_record(record, "interrupted")
            raise
    print_summary(outcome, places, num_rows=plan.settings.top_k)
    failed = {trial.number: trial.reason for trial in outcome.failed if trial.number not in failed_before}
    _Latest.sweep = EndedSweep(outcome, places, record.parent_run_id, failed)
    if failed:
        raise SweepError(failures(failed, len(outcome.trials)))


def _complete(plan: Plan, ledger: Ledger, record: Record, slots: Slots, announced: Sequence[str]) -> None:
    """Run what is left of the plan. However it ends, no trial of this command is left RUNNING.

    announced: lines that say what is about to run.
    """
    with Progress(plan, slots.num_slots, live=slots.streams) as progress:
        for line in announced:
            progress.say(line)
        loop = Loop(plan, ledger, record, slots, progress)
        try:
            loop.recover()
            ledger.add_missing(plan.settings.enqueue)
            ledger.add_missing(plan.points or [])
            ended = loop.run()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                ignore_further_signals(error)
            slots.stop()
            ledger.storage.patience.stop_waiting()
            with suppress(AwayError):  # the next start recovers what is still RUNNING
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


def _confirm(plan: Plan, ledger: Ledger, record: Record, slots: Slots, context: HydraContext) -> Choice | None:
    """Run the confirm stage; the mean over its seeds chooses. Without a COMPLETE run of it, the search does."""
    fixed = plan.space.fixed
    arms = arms_of(plan, ledger, cache(lambda chosen: flatten(compose(context, plan.config, [*fixed, *chosen]))))
    stage = confirm_plan(plan, arms)
    stage_ledger = _open(stage, {"arms": {arm.name: arm.overrides for arm in arms}}, ledger.storage)
    seeds = ", ".join(map(str, fresh_seeds(plan)))
    announced = f"confirm: {stage.num_trials} runs, {' and '.join(arm.name for arm in arms)} with seeds {seeds}"
    _complete(stage, stage_ledger, record.of_study(stage.study_name, stage.label), slots, [announced])
    confirmation = confirmation_of(plan, arms, stage_ledger.trials)
    found = findings(confirmation, plan.objective.directions[0])
    if found is None:
        return choose(plan, ledger)
    chosen = next(arm.trial for arm in arms if arm.name == found.chosen)
    return Choice(chosen, confirmation, found)


def _open(plan: Plan, identity: Mapping[str, Any], storage: PatientStorage) -> Ledger:
    lock, pruner = storage_lock(plan.storage), make_pruner(plan.settings.pruner)
    return open_ledger(storage, lock, plan.study_name, plan.objective.directions, identity, pruner)


def _preflight(plan: Plan, context: HydraContext) -> str | None:
    """Run the application's checks on the first configuration. Returns its fingerprint of the data, if it has one."""
    check = find_function("preflight", plan.settings.preflight)
    if check is None:
        return None
    try:
        fingerprint = check(OmegaConf.create(compose(context, plan.config, plan.space.overrides(plan.space.first))))
    except HydraException:
        raise
    except Exception as error:  # whatever the application's check raises
        raise SweepError(str(error)) from error
    return None if fingerprint is None else str(fingerprint)


def _open_record(plan: Plan) -> Record:
    settings = plan.settings
    if settings.mlflow_uri is None:
        return NoRecord()
    facts = {
        "metric": ", ".join(plan.metrics),
        "direction": ", ".join(plan.objective.directions),
        "sampler": plan.sampler,
    }
    facts |= {f"space.{name}": description for name, description in plan.space.describe().items()}
    experiment = settings.mlflow_experiment or "Default"
    uri, ui = resolve(settings.mlflow_uri), settings.mlflow_ui
    from mlflow.exceptions import MlflowException

    try:
        check_store(uri, experiment, option="hydra.sweeper.mlflow_uri")
        patience = Patience(f"hydra.sweeper.mlflow_uri: {redact(uri)}", settings.storage_patience)
        images, columns = settings.mlflow_images, settings.mlflow_columns
        return MlflowRecord(
            uri,
            experiment,
            plan.study_name,
            plan.label,
            facts,
            ui=ui,
            images=images,
            columns=columns,
            patience=patience,
        )
    except ValueError as error:
        raise SweepError(str(error)) from error
    except MlflowException as error:
        raise SweepError(f"hydra.sweeper.mlflow_uri: {redact(uri)}: {error.message.splitlines()[0]}") from error
