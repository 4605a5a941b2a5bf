"""The maps of a sweep's runs in one picture, ordered by what was swept: λ down, τ across, λ = 0 first."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from contrastive_app.record import METRICS_FILE
from contrastive_app.report.evidence import Arm, Evidence, read_json
from contrastive_app.report.wording import setting
from contrastive_learning.pictures import EmbeddingMap, Panel, clearest_criterion, main_criterion
from hydra_plugins.contrastive_sweeper.outcome import TrialResult

MAX_GRID = 120  # runs in one picture
MOST_COLUMNS = 6
COLUMNS = 3  # where runs only follow each other
MAP = "embedding_map.parquet"
MAP_BEFORE = "embedding_map_before.parquet"
LAMBDA = "loss.lambda_contrastive"

Row = Sequence[Panel | None]
Drawn = tuple[Mapping[str, Any], Panel]  # the parameters of a run, and its panel


def criterion_of(evidence: Evidence, chosen: str | None) -> str | None:
    """The criterion that the maps show: the chosen one; None without maps.

    Else the one whose slice is the clearest in the best run or, if all share one space, with the most even votes.
    """
    folders = [run.folder for trial in evidence.outcome.trials for run in trial.runs.values()]
    folder = next((folder for folder in (evidence.best.folder, *folders) if (folder / MAP).exists()), None)
    if chosen is not None or folder is None:
        return chosen
    shown = EmbeddingMap.read(folder / MAP)
    metrics = read_json(folder / METRICS_FILE).get("metrics", {})
    clearest = None if shown.shared else clearest_criterion(metrics, shown.criteria)
    return clearest or main_criterion(shown.criteria, shown.yes_votes, shown.num_votes)


class Grid(NamedTuple):
    """The panels row by row, None for an empty place."""

    panels: Sequence[Panel | None]
    columns: int
    order: str  # in words


def panels_of(evidence: Evidence, criterion: str | None) -> Grid:
    """Where each run of the sweep has its panel.

    A grid over two numbers has a row for each λ (or else the second number) and a column for each value of the other.
    A search over several has rows of runs with similar λ, and in each row the other rises. One over a single number is
    in its order, and one over choices has its best run first.

    criterion: whose silhouette the panels give.
    """
    trials = [trial for trial in evidence.outcome.trials if trial.state != "FAIL" and trial.runs]
    found = [(trial, _panel(evidence, trial, criterion)) for trial in trials[:MAX_GRID]]
    drawn = [(trial.params, panel) for trial, panel in found if panel is not None]
    rows, order = _rows(evidence, drawn, _axes(evidence, [trial for trial, panel in found if panel is not None]))
    rows = [*filter(None, [_baseline(evidence, criterion)]), *rows]
    columns = max(map(len, rows), default=COLUMNS)
    return Grid([panel for row in rows for panel in [*row, *[None] * (columns - len(row))]], columns, order)


def _rows(evidence: Evidence, drawn: Sequence[Drawn], axes: Sequence[str] | None) -> tuple[list[Row], str]:
    """The panels of each row, and their order in words."""
    if axes is None:
        return _cut(drawn, range(COLUMNS, len(drawn), COLUMNS)), "the best first"
    drawn = sorted(drawn, key=lambda item: [item[0][name] for name in axes])
    down, across = (evidence.outcome.labels.get(name, name) for name in (axes[0], axes[-1]))
    if len(axes) == 1:
        return _cut(drawn, range(COLUMNS, len(drawn), COLUMNS)), f"{across} rises from run to run"
    if (exact := _exact(drawn, axes)) is not None:
        return exact, f"{down} rises from row to row, {across} from left to right"
    ends = _ends_of_rows([params[axes[0]] for params, _ in drawn])
    words = f"similar {down} in a row, higher ones below; in each row {across} rises"
    return _cut(drawn, ends, axes[-1]), words


def _ends_of_rows(values: Sequence[float]) -> list[int]:
    """Where rows of like values end, the last one's left out; each has MOST_COLUMNS at most. values: ascending.

    Values that repeat have rows of their own, others are cut into about as many rows as columns.
    """
    changes = [index for index, (value, after) in enumerate(pairwise(values), start=1) if value != after]
    if 2 * (len(changes) + 1) <= len(values):
        ends: list[int] = []
        for start, end in pairwise([0, *changes, len(values)]):
            ends += [*range(start + MOST_COLUMNS, end, MOST_COLUMNS), end]
        return ends[:-1]
    num_rows = max(round(len(values) ** 0.5), math.ceil(len(values) / MOST_COLUMNS))
    return [round(index * len(values) / num_rows) for index in range(1, num_rows)]


def _cut(drawn: Sequence[Drawn], ends: Iterable[int], across: str | None = None) -> list[Row]:
    """Rows that end before these places, each in the order of a parameter, or else as it is."""
    bands = [drawn[start:end] for start, end in pairwise([0, *ends, len(drawn)])]
    if across is not None:
        bands = [sorted(band, key=lambda item: item[0][across]) for band in bands]
    return [[panel for _, panel in band] for band in bands]


def _exact(drawn: Sequence[Drawn], axes: Sequence[str]) -> list[Row] | None:
    """A row for each value of the first number and a column for each of the second; None if that has too many holes."""
    rows, across = (sorted({params[name] for params, _ in drawn}) for name in (axes[0], axes[-1]))
    at = {tuple(params[name] for name in axes): panel for params, panel in drawn}
    is_sparse = len(across) > MOST_COLUMNS or len(rows) * len(across) > 2 * len(drawn)
    if len(axes) != 2 or is_sparse or len(at) < len(drawn):
        return None
    return [[at.get((row, column)) for column in across] for row in rows]


def before_and_after(evidence: Evidence, criterion: str | None) -> list[Panel]:
    """Before training, and after it without and with the best contrastive term; empty if one of them is missing.

    The two runs have the same seed, so that both start from the same model.
    """
    own, baseline = evidence.contrastive, evidence.baseline
    if baseline is None or own.is_baseline:
        return []
    for seed in own.runs:
        if seed not in baseline.runs:
            continue
        without, best = (Arm(arm.trials, arm.params, {seed: arm.runs[seed]}) for arm in (baseline, own))
        start = without.folder / MAP_BEFORE
        before = replace(EmbeddingMap.read(start), title="before training", when="epoch 0") if start.exists() else None
        drawn = [
            None if before is None else Panel(before),
            _drawn(without, "λ = 0", criterion, is_faint=False),
            _drawn(best, _words(evidence, own.params), criterion, is_faint=False),
        ]
        panels = [panel for panel in drawn if panel is not None]
        if len(panels) == len(drawn):
            return panels
    return []


def _axes(evidence: Evidence, trials: Sequence[TrialResult]) -> list[str] | None:
    """The swept numbers, the one that goes down first; None if something else was swept too."""
    names = [name for trial in trials for name in trial.params if name != evidence.outcome.seed_key]
    names = sorted(dict.fromkeys(names), key=lambda name: name != LAMBDA)
    values = [trial.params.get(name) for trial in trials for name in names]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return names if names and numbers else None


def _baseline(evidence: Evidence, criterion: str | None) -> list[Panel]:
    """The run without a contrastive term, if only the confirm stage has one."""
    arm = evidence.baseline
    if arm is None or arm.trials:
        return []
    panel = _drawn(arm, "λ = 0", criterion, is_faint=False)
    return [] if panel is None else [panel]


def _panel(evidence: Evidence, trial: TrialResult, criterion: str | None) -> Panel | None:
    arm = Arm([trial.number], trial.params, trial.runs)
    swept = {name: value for name, value in trial.params.items() if name != evidence.outcome.seed_key}
    pruned = trial.state == "PRUNED"
    title = f"{trial.number:03d} {_words(evidence, swept)}{' (pruned)' * pruned}"
    return _drawn(arm, title, criterion, is_faint=pruned)


def _words(evidence: Evidence, swept: Mapping[str, Any]) -> str:
    return setting(swept, evidence.outcome.labels).replace(" = ", "=").replace(",", "")


def _drawn(arm: Arm, title: str, criterion: str | None, *, is_faint: bool) -> Panel | None:
    file = arm.folder / MAP
    shown = EmbeddingMap.read(file) if file.exists() else None
    if shown is None or criterion not in shown.criteria:  # a sweep over data has runs with other criteria
        return None
    metrics = read_json(arm.folder / METRICS_FILE).get("metrics", {})
    return Panel(replace(shown, title=title), ", ".join(_geometry(metrics, criterion)), is_faint)


def _geometry(metrics: Mapping[str, Any], criterion: str | None) -> Iterator[str]:
    """The silhouette is that of the criterion."""
    if (name := f"val/embedding/silhouette/{criterion}") in metrics:
        yield f"silhouette {metrics[name]:.2f}"
    if "val/embedding/effective_rank" in metrics:
        yield f"effective rank {metrics['val/embedding/effective_rank']:.1f}"
