"""The end of a sweep: summed up once, then written to files, recorded in MLflow and reported.

Everything after `sum_up` is made from the Outcome, which no longer changes.
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState

from mlflow_stores import redact
from optuna_sweep.errors import warn_instead
from optuna_sweep.outcome import Estimate, Outcome, SeedRun, TrialResult
from optuna_sweep.plan.make_plan import find_function
from optuna_sweep.plan.plan import Plan
from optuna_sweep.plan.task_config import compose
from optuna_sweep.record.parent import Record
from optuna_sweep.record.pictures import draw_study
from optuna_sweep.record.results import write_files
from optuna_sweep.run.choice import Choice, choose, estimates_of
from optuna_sweep.run.command import this_command
from optuna_sweep.states import SweepState, paused_at, state_of
from optuna_sweep.study.ledger import Ledger, is_feasible


def conclude(
    plan: Plan, ledger: Ledger, record: Record, context: HydraContext, state: SweepState, choice: Choice | None
) -> tuple[Outcome, Mapping[str, str]]:
    """Write the files and close the record. Returns the outcome, and what a person can open, with its address.

    If the sweep failed, the record is closed as far as that works: its own failure must not hide the first one.
    """
    choice = choice or choose(plan, ledger)
    if state == "ok":
        record.wait()
    with ledger.locked():  # another command may end now too, with the same files and the same parent run
        outcome = replace(sum_up(plan, ledger, choice, context), parent_run_id=record.parent_run_id)
        files = write_files(outcome)
        (outcome.sweep_dir / "multirun.yaml").write_text(redact(OmegaConf.to_yaml(plan.config)), encoding="utf-8")
        if state == "ok" and record.parent_run_id is not None and outcome.best is not None:
            made = list(_made_by_report(plan, outcome, context))
            files += [*draw_study(outcome, ledger.study), *(item for item in made if isinstance(item, Path))]
            outcome = replace(outcome, answer=[item for item in made if isinstance(item, str)])
        places: dict[str, str] = {}
        with nullcontext() if state == "ok" else warn_instead("could not close the parent run"):
            record.reconcile(ledger.trials)
            with warn_instead("no comparison in MLflow"):
                places.update(record.show(outcome))
            record.finish(state, outcome.best, files)
    return outcome, places


def close_record(record: Record, state: SweepState) -> None:
    """Close the parent run without an outcome, when the study cannot be read."""
    with warn_instead("could not close the parent run"):
        record.finish(state, None, [])


def sum_up(plan: Plan, ledger: Ledger, choice: Choice | None, context: HydraContext) -> Outcome:
    """Reads the study for the last time. Call it with the lock held: another command may share the study."""
    trials = ledger.trials
    ended = [trial for state in (TrialState.PRUNED, TrialState.FAIL) for trial in trials if trial.state == state]
    found = estimates_of(plan, ledger)
    results = [_result(plan, trial, found.get(trial.number)) for trial in (*ledger.ranked(), *ended)]
    chosen = None if choice is None else choice.trial
    best_config = {} if chosen is None else compose(context, plan.config, plan.space.overrides(chosen.params))
    return Outcome(
        study=plan.study_name,
        metrics=plan.metrics,
        directions=plan.objective.directions,
        seed_key=plan.settings.seed_key,
        labels={name: plan.short(name) for result in results for name in result.params},
        trials=results,
        front=_front(plan, ledger, chosen),
        chosen=None if chosen is None else chosen.number,
        confirmation=None if choice is None else choice.confirmation,
        findings=None if choice is None else choice.findings,
        unfinished=[_result(plan, trial) for trial in trials if not trial.state.is_finished()],
        space=plan.space.describe(),
        sampler=plan.sampler if plan.points is None else "grid",
        seeds=list(plan.settings.seeds),
        storage=_without_credentials(plan.storage),
        sweep_dir=plan.sweep_dir,
        best_config=best_config,
        command=redact(this_command()),
        soup=plan.settings.soup,
        step_name=plan.step_name,
    )


def _front(plan: Plan, ledger: Ledger, chosen: FrozenTrial | None) -> list[int]:
    if chosen is None:
        return []
    several = len(plan.objective.directions) > 1
    return [trial.number for trial in ledger.study.best_trials] if several else [chosen.number]


def _result(plan: Plan, trial: FrozenTrial, estimate: Estimate | None = None) -> TrialResult:
    attributes = trial.user_attrs
    return TrialResult(
        number=trial.number,
        name=plan.label(trial.number, trial.params),
        state=state_of(trial),
        params=trial.params,
        values=trial.values or _paused_value(trial),
        last_step=trial.last_step,
        seconds=attributes.get("seconds", 0.0),
        reason=attributes.get("reason", ""),
        runs=_runs(plan, trial),
        is_feasible=is_feasible(trial),
        folder=Path(attributes["output_dir"]) if "output_dir" in attributes else None,
        retry_of=attributes.get("retry_of"),
        rung=paused_at(trial),
        reused_from=attributes.get("reused_from"),
        estimate=estimate,
        is_interrupted="continues" in attributes and state_of(trial) == "WAITING",
    )


def _paused_value(trial: FrozenTrial) -> tuple[float, ...]:
    """What a paused trial reported last; empty for any other."""
    return () if paused_at(trial) is None else (trial.intermediate_values[trial.last_step or 0],)


def _runs(plan: Plan, trial: FrozenTrial) -> dict[int, SeedRun]:
    if "output_dir" not in trial.user_attrs:
        return {}
    first = Path(trial.user_attrs["output_dir"])
    if len(plan.seeds) == 1:
        key = plan.settings.seed_key
        seed = plan.seeds[0] if plan.seeds[0] is not None else trial.params.get(key, plan.base.get(key))
        return {int(seed or 0): SeedRun(trial.values or (), first, *trial.user_attrs.get("seed_doubts", ()))}
    values = trial.user_attrs.get("seed_values", [()])
    seeds = [int(seed) for seed in plan.seeds if seed is not None]
    doubts = trial.user_attrs.get("seed_doubts", [""] * len(values))
    return {
        seed: SeedRun(each, first.with_name(f"seed_{seed}"), doubt)
        for seed, each, doubt in zip(seeds, values, doubts, strict=False)
    }


def _made_by_report(plan: Plan, outcome: Outcome, context: HydraContext) -> Iterator[Path | str]:
    """The files and texts that the function in `hydra.sweeper.report` makes."""
    report = find_function("report", plan.settings.report)
    if report is None:
        return
    with warn_instead("no report"):
        config = OmegaConf.create(compose(context, plan.config, plan.space.fixed))
        yield from report(config, outcome, plan.sweep_dir)


def _without_credentials(storage: Any) -> Any:
    """A resolved storage: a text, or a mapping with the arguments of Optuna's class."""
    if isinstance(storage, Mapping):
        return {key: _without_credentials(value) for key, value in storage.items()}
    return redact(storage) if isinstance(storage, str) else storage
