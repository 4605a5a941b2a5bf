"""The report's tables, as rows of text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from contrastive_app.report.evidence import Arm, Evidence, Spread
from contrastive_app.report.wording import SPLITS, compact, setting, signed
from contrastive_learning.metrics.table import METRICS
from hydra_plugins.contrastive_sweeper.outcome import TrialResult, compare, doubts_of

MAX_ARMS = 10
NONE = "–"


class Row(NamedTuple):
    name: str
    cells: Sequence[str]
    mark: str = ""  # a CSS class
    note: str = ""


class Table(NamedTuple):
    heading: Sequence[str]
    rows: Sequence[Row]


def arms_table(evidence: Evidence) -> Table:
    """Mean and standard deviation over the seeds, for the configurations that the verdict compares."""
    outcome = evidence.outcome
    heading = ["configuration"]
    for metric in outcome.metrics:
        heading += [metric, "sd"]
    rows = []
    for arm in evidence.compared[:MAX_ARMS]:
        cells: list[str] = []
        for index in range(len(outcome.metrics)):
            spread = Spread.of(arm.objective(index))
            cells += [_mean(spread), NONE if spread is None or spread.sd is None else f"{spread.sd:.4f}"]
        mark = "best" * (arm is evidence.best)
        rows.append(Row(name_of(evidence, arm), [*cells, str(len(arm.runs))], mark, _doubts(arm)))
    return Table([*heading, "seeds"], rows)


def _doubts(arm: Arm) -> str:
    without = Spread.of(arm.objective(0, with_doubts=False))
    return f"{arm.doubts}; without them {_mean(without)}" if arm.doubts else ""


def quality_table(evidence: Evidence) -> Table:
    """The contrastive configuration and the baseline, on every split."""
    arm, baseline = evidence.contrastive, evidence.baseline
    heading = ["", name_of(evidence, arm)]
    if baseline is not None:
        heading += [name_of(evidence, baseline), "better by", *(["95 %"] if has_intervals(evidence) else [])]
    rows = []
    for split, split_name in SPLITS.items():
        for metric in (metric for metric in METRICS if metric.label):
            name = f"{split}/{metric.summary}"
            values = arm.metric(name)
            if not values:
                continue
            cells = [_with_sd(Spread.of(values))]
            if baseline is not None:
                other = baseline.metric(name)
                cells += [_with_sd(Spread.of(other)), *_gain(values, other, metric.direction)]
            rows.append(Row(f"{split_name}: {metric.label}", cells[: len(heading) - 1]))
    return Table(heading, rows)


def has_intervals(evidence: Evidence) -> bool:
    """Whether there are enough paired seeds for a confidence interval."""
    gain = evidence.gain()
    return gain is not None and gain.says_something


def criteria_table(evidence: Evidence) -> Table:
    """Per criterion and split: the mean of F1(yes) and F1(no), and how much better that is than the baseline's."""
    arm, baseline = evidence.contrastive, evidence.baseline
    splits = [split for split in SPLITS if arm.metric(f"{split}/macro_f1")]
    heading = ["criterion"]
    for split in splits:
        heading += [SPLITS[split]] if baseline is None else [SPLITS[split], "better by"]
    rows = []
    for criterion in criteria_of(arm):
        cells: list[str] = []
        for split in splits:
            values = arm.metric(f"{split}/f1/{criterion}")
            cells.append(_mean(Spread.of(values), digits=3))
            if baseline is not None:
                cells.append(_gain(values, baseline.metric(f"{split}/f1/{criterion}"), "maximize")[0])
        rows.append(Row(criterion, cells))
    return Table(heading, rows)


def criteria_of(arm: Arm) -> list[str]:
    names = (name for metrics in arm.metrics.values() for name in metrics)
    return list(dict.fromkeys(name.partition("/brier/")[2] for name in names if "/brier/" in name))


def soup_table(judges: Mapping[str, Mapping[str, float]]) -> Table:
    """One column per judge, one row per split and metric that all of them have. judges: name -> metrics."""
    rows = []
    for split, split_name in SPLITS.items():
        for metric in (metric for metric in METRICS if metric.label):
            name = f"{split}/{metric.summary}"
            if all(name in metrics for metrics in judges.values()):
                cells = [f"{metrics[name]:.4f}" for metrics in judges.values()]
                rows.append(Row(f"{split_name}: {metric.label}", cells))
    return Table(["", *judges], rows)


def trials_table(evidence: Evidence) -> Table:
    outcome = evidence.outcome
    heading = ["trial", *outcome.labels.values(), *outcome.metrics, f"{outcome.step_name}s", "seconds"]
    rows = []
    for trial in outcome.trials:
        params = [compact(trial.params[name]) if name in trial.params else NONE for name in outcome.labels]
        values = [f"{value:.4f}" for value in trial.values] or [NONE] * len(outcome.metrics)
        steps = NONE if trial.last_step is None else str(trial.last_step)
        cells = [*params, *values, steps, f"{trial.seconds:.0f}"]
        doubts = doubts_of(trial.runs.values())
        note = doubts if trial.state == "COMPLETE" else f"{trial.state} {trial.reason}"
        rows.append(Row(f"{trial.number:03d}", cells, "best" * (trial.number in outcome.front), note))
    return Table(heading, rows)


def cost_lines(evidence: Evidence, epochs: int) -> Iterator[str]:
    """What the sweep cost, and what pruning saved. epochs: of a run that is not pruned."""
    trials, confirmation = evidence.outcome.trials, evidence.outcome.confirmation
    states = [trial.state for trial in trials]
    kinds = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    counts = ", ".join(f"{states.count(state)} {name}" for state, name in kinds.items() if state in states)
    yield f"{len(trials)} trials ({counts}) in {_duration(sum(trial.seconds for trial in trials))} of run time."
    pruned = [trial for trial in trials if trial.state == "PRUNED"]
    if pruned:
        yield from _saved(evidence, pruned, epochs)
    if confirmation is not None:
        runs = sum(map(len, confirmation.arms.values()))
        yield f"The confirmation on fresh seeds took {runs} more runs and {_duration(confirmation.seconds)}."


def _saved(evidence: Evidence, pruned: Sequence[TrialResult], epochs: int) -> Iterator[str]:
    """What the pruned trials would have trained more; of reports, if a trial that ended tells how many it takes."""
    outcome = evidence.outcome
    if outcome.step_name == "epoch":
        planned = [int(trial.params.get("trainer.epochs", epochs)) for trial in pruned]
    else:
        planned = [max((trial.last_step or 0 for trial in outcome.complete), default=0)] * len(pruned)
    if any(planned):
        saved = sum(whole - (trial.last_step or 0) for whole, trial in zip(planned, pruned, strict=True))
        yield f"Pruning saved {saved} of the {sum(planned)} {outcome.step_name}s of the {len(pruned)} pruned trials."


def name_of(evidence: Evidence, arm: Arm) -> str:
    if not arm.trials:
        return "λ = 0" if arm.weights and not any(arm.weights.values()) else "baseline"
    return setting(arm.params, evidence.outcome.labels) or f"trial {arm.trials[0]:03d}"


def _mean(spread: Spread | None, digits: int = 4) -> str:
    return NONE if spread is None else f"{spread.mean:.{digits}f}"


def _with_sd(spread: Spread | None) -> str:
    sd = "" if spread is None or spread.sd is None else f" ± {spread.sd:.3f}"
    return _mean(spread, digits=3) + sd


def _gain(values: Mapping[int, float], other: Mapping[int, float], direction: str) -> tuple[str, str]:
    found = compare(values, other, direction)
    if found is not None:
        interval = f"{signed(found.low)} to {signed(found.high)}" if found.says_something else NONE
        return signed(found.mean_gain), interval
    own, rival = Spread.of(values), Spread.of(other)
    if own is None or rival is None:
        return NONE, NONE
    sign = 1 if direction == "maximize" else -1
    return signed(sign * (own.mean - rival.mean)), NONE


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
