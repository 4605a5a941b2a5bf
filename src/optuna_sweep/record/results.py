"""What a sweep leaves behind: a table on the screen, and files in the sweep's folder."""

import csv
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra.types import HydraContext
from omegaconf import OmegaConf
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from mlflow_stores import redact
from optuna_sweep.outcome import Confirmation
from optuna_sweep.plan.plan import Plan, compact, compose
from optuna_sweep.run.confirm import report
from optuna_sweep.study.ledger import Ledger, is_feasible


@dataclass(frozen=True)
class Choice:
    """The configuration that the sweep settles on."""

    trial: FrozenTrial
    confirmed: Mapping[str, Any] | None = None  # what the confirm stage found
    confirmation: Confirmation | None = None  # and its runs


def choose(ledger: Ledger) -> Choice | None:
    best = ledger.best()
    return None if best is None else Choice(best)


def write_files(plan: Plan, ledger: Ledger, choice: Choice | None, context: HydraContext) -> list[Path]:
    plan.sweep_dir.mkdir(parents=True, exist_ok=True)
    files = [plan.sweep_dir / "trials.csv"]
    _write_trials(plan, ledger, files[0])
    if choice is not None:
        files.append(plan.sweep_dir / "optimization_results.yaml")
        files[-1].write_text(yaml.safe_dump(_summary(plan, ledger, choice), sort_keys=False, allow_unicode=True))
        files.append(plan.sweep_dir / "best_config.yaml")
        _write_best_config(plan, choice, context, files[-1])
    OmegaConf.save(plan.config, plan.sweep_dir / "multirun.yaml")
    return files


def print_summary(plan: Plan, ledger: Ledger, choice: Choice | None, places: Mapping[str, str]) -> None:
    console = Console(file=sys.stderr)
    console.print(_table(plan, ledger))
    if choice is not None and choice.confirmed is not None:
        report(choice.confirmed, partial(console.print, highlight=False, soft_wrap=True))
    for name, place in {"Results": plan.sweep_dir, **places}.items():
        console.print(f"{name}: {place}", highlight=False, soft_wrap=True, markup=False)


def _table(plan: Plan, ledger: Ledger) -> Table:
    ranked = ledger.ranked()
    several = len(plan.directions) > 1
    front = {trial.number for trial in ledger.study.best_trials} if several and ranked else set()
    shown = ranked[: max(plan.settings.top_k, len(front))]
    names = list(dict.fromkeys(name for trial in shown for name in trial.params))
    states = Counter(trial.state.name for trial in ledger.trials)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    kind = f"{len(front)} Pareto-optimal of" if several else f"best {len(shown)} of"
    table = Table(title=f"{plan.study_name}: {kind} {counts}", title_justify="left")
    for heading in ("trial", *map(plan.short, names), *plan.metrics, "behind", "seconds"):
        table.add_column(heading, justify="right")
    for trial in shown:
        behind = "" if several else f"{abs(trial.values[0] - shown[0].values[0]):.4f}"
        mark = "*" if trial.number in front else " infeasible" if not is_feasible(trial) else ""
        cells = [compact(trial.params.get(name, "-")) for name in names]
        values = [f"{value:.4f}" for value in trial.values]
        seconds = f"{trial.user_attrs.get('seconds', 0):.1f}"
        table.add_row(f"{trial.number:03d}{mark}", *cells, *values, behind, seconds)
    return table


def _summary(plan: Plan, ledger: Ledger, choice: Choice) -> dict[str, Any]:
    """The official plugin's keys first."""
    if len(plan.directions) == 1:
        found: dict[str, Any] = {"best_params": dict(choice.trial.params), "best_value": choice.trial.values[0]}
    else:
        found = {"solutions": [{"params": dict(t.params), "values": list(t.values)} for t in ledger.study.best_trials]}
    states = Counter(trial.state.name for trial in ledger.trials)
    more = {
        "best_trial": choice.trial.number,
        "output_dir": choice.trial.user_attrs.get("output_dir"),
        "study_name": plan.study_name,
        "storage": redact(plan.storage) if isinstance(plan.storage, str) else plan.storage,
        "metric": list(plan.metrics) if len(plan.metrics) > 1 else plan.metrics[0],
        "direction": list(plan.directions) if len(plan.directions) > 1 else plan.directions[0],
        "sampler": plan.sampler if plan.points is None else "grid",
        "trials": dict(sorted(states.items())),
    }
    if choice.confirmed is not None:
        more["confirm"] = dict(choice.confirmed)
    return {"name": "optuna", **found, **more}


def _write_trials(plan: Plan, ledger: Ledger, file: Path) -> None:
    trials = ledger.trials
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    notes = ("seconds", "retry_of", "reused_from", "output_dir", "reason")
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", "state", *names, *plan.metrics, "last_step", *notes])
        for trial in trials:
            if trial.state == TrialState.WAITING:
                continue
            values = list(trial.values or [""] * len(plan.metrics))
            attributes = [trial.user_attrs.get(note, "") for note in notes]
            row = [trial.number, trial.state.name, *(trial.params.get(name, "") for name in names)]
            writer.writerow([*row, *values, "" if trial.last_step is None else trial.last_step, *attributes])


def _write_best_config(plan: Plan, choice: Choice, context: HydraContext, file: Path) -> None:
    config = compose(context, plan.config, plan.space.overrides(choice.trial.params))
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(plan.metrics, choice.trial.values, strict=True))
    heading = f"# trial {choice.trial.number} of study {plan.study_name}: {values}\n"
    file.write_text(heading + OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
