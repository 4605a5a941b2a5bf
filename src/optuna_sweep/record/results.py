"""What a sweep leaves behind: files in the sweep's folder, and a table on the screen."""

import csv
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from mlflow_stores import redact
from optuna_sweep.comparison import Comparison
from optuna_sweep.outcome import ArmMean, Estimate, Findings, Outcome, TrialResult, doubts_of
from optuna_sweep.readable import compact


def write_files(outcome: Outcome) -> list[Path]:
    """trials.csv, and if a trial is COMPLETE optimization_results.yaml and best_config.yaml, in the sweep's folder."""
    outcome.sweep_dir.mkdir(parents=True, exist_ok=True)
    files = [outcome.sweep_dir / "trials.csv"]
    _write_trials(outcome, files[0])
    best = outcome.best
    if best is not None:
        files.append(outcome.sweep_dir / "optimization_results.yaml")
        summary = _summary(outcome, best)
        files[-1].write_text(yaml.safe_dump(summary, sort_keys=False, allow_unicode=True), encoding="utf-8")
        files.append(outcome.sweep_dir / "best_config.yaml")
        _write_best_config(outcome, best, files[-1])
    return files


def print_summary(outcome: Outcome, places: Mapping[str, str], *, num_rows: int) -> None:
    """The `num_rows` best trials (the whole Pareto front, if that is more), and what a person can open next."""
    console = Console(file=sys.stderr)
    console.print(_table(outcome, num_rows))
    say = partial(console.print, highlight=False, soft_wrap=True, markup=False)
    if outcome.trained:
        say(f"Trained: {outcome.trained}")
    if outcome.doubts:
        say(f"in doubt: {outcome.doubts}")
    if outcome.chance:
        say(outcome.chance)
    if outcome.findings is not None:
        for line in _confirm_lines(outcome.findings, with_verdict=not outcome.answer):
            say(line)
    for line in outcome.answer:
        say(line, style="bold" if line is outcome.answer[0] else None)
    for name, place in {"Results": outcome.sweep_dir, **places}.items():
        say(f"{name}: {place}")


def _confirm_lines(findings: Findings, *, with_verdict: bool) -> list[str]:
    lines = [
        f"confirm  {name}: mean {arm.mean:.4f}, sd {arm.sd:.4f} over {arm.num_seeds} fresh seeds{arm.in_doubt}"
        for name, arm in findings.arms.items()
    ]
    lines.append(f"chosen by mean: {findings.chosen}")
    return [*lines, f"verdict: {findings.verdict}"] if with_verdict and findings.verdict is not None else lines


def _table(outcome: Outcome, num_rows: int) -> Table:
    several = len(outcome.directions) > 1
    front = outcome.front if several else []
    shown = outcome.complete[: max(num_rows, len(front))]
    names = list(dict.fromkeys(name for trial in shown for name in trial.params))
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items())
    kind = f"{len(front)} Pareto-optimal of" if several else f"best {len(shown)} of"
    table = Table(title=f"{outcome.study}: {kind} {counts}", title_justify="left")
    estimated = any(trial.estimate for trial in shown)
    headings = [*outcome.metrics, "behind", *(["estimate"] * estimated), "seconds"]
    for heading in ("trial", *(outcome.labels[name] for name in names), *headings):
        table.add_column(heading, justify="right")
    for trial in shown:
        behind = "" if several else f"{abs(trial.values[0] - shown[0].values[0]):.4f}"
        mark = "*" if trial.number in front else "" if trial.is_feasible else " infeasible"
        cells = [compact(trial.params.get(name, "-")) for name in names]
        values = [f"{value:.4f}" for value in trial.values]
        estimate = [_in_words(trial.estimate)] * estimated
        table.add_row(f"{trial.number:03d}{mark}", *cells, *values, behind, *estimate, f"{trial.seconds:.1f}")
    return table


def _in_words(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.mean:.4f} ± {estimate.sd:.4f}"


def _summary(outcome: Outcome, best: TrialResult) -> dict[str, Any]:
    """The official plugin's keys first."""
    several = len(outcome.directions) > 1
    if several:
        by_number = {trial.number: trial for trial in outcome.trials}
        front = [by_number[number] for number in outcome.front]
        found: dict[str, Any] = {"solutions": [{"params": dict(t.params), "values": list(t.values)} for t in front]}
    else:
        found = {"best_params": dict(best.params), "best_value": best.values[0]}
    more = {
        "best_trial": best.number,
        "output_dir": None if best.folder is None else str(best.folder),
        "study_name": outcome.study,
        "storage": outcome.storage,
        "metric": list(outcome.metrics) if several else outcome.metrics[0],
        "direction": list(outcome.directions) if several else outcome.directions[0],
        "sampler": outcome.sampler,
        "trials": outcome.counts,
    }
    if best.estimate is not None:
        more["estimate"] = best.estimate._asdict()
    if outcome.findings is not None:
        more["confirm"] = _confirm_summary(outcome.findings)
    return {"name": "optuna", **found, **more}


def _confirm_summary(findings: Findings) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "chosen": findings.chosen,
        "arms": {name: _arm_summary(arm) for name, arm in findings.arms.items()},
    }
    if findings.verdict is not None:
        gain = findings.gain
        numbers = {} if gain is None else _numbers(gain)
        without = findings.gain_without
        more = {} if without is None else {"without_doubt": [without.mean_gain, without.low, without.high]}
        summary["against_baseline"] = {**numbers, **more, "verdict": findings.verdict}
    return summary


def _numbers(gain: Comparison) -> dict[str, Any]:
    return {"mean_gain": gain.mean_gain, "interval": [gain.low, gain.high], "confidence": gain.confidence}


def _arm_summary(arm: ArmMean) -> dict[str, Any]:
    doubts = {"doubts": arm.doubts, "mean_without": arm.mean_without} if arm.doubts else {}
    return {"mean": arm.mean, "sd": arm.sd, "seeds": arm.num_seeds, **doubts}


def _write_trials(outcome: Outcome, file: Path) -> None:
    trials = [trial for trial in outcome.by_number if trial.state != "WAITING" or trial.is_interrupted]
    names = list(dict.fromkeys(name for trial in outcome.by_number for name in trial.params))
    notes = ("seconds", "retry_of", "reused_from", "output_dir", "reason")
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", "state", *names, *outcome.metrics, "last_step", *notes])
        for trial in trials:
            values: Sequence[float | str] = trial.values or [""] * len(outcome.metrics)
            seconds = "" if trial.folder is None else trial.seconds  # one that never ran took none
            row = [trial.number, trial.state, *(trial.params.get(name, "") for name in names), *values, trial.last_step]
            why = trial.reason or doubts_of(trial.runs.values())
            writer.writerow([*row, seconds, trial.retry_of, trial.reused_from, trial.folder, why])


def _write_best_config(outcome: Outcome, best: TrialResult, file: Path) -> None:
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(outcome.metrics, best.values, strict=True))
    heading = f"# trial {best.number} of study {outcome.study}: {values}\n"
    config = redact(OmegaConf.to_yaml(OmegaConf.create(dict(outcome.best_config))))  # people pass this file on
    file.write_text(heading + config, encoding="utf-8")
