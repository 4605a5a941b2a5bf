"""Which judgements the contrastive term changed: where a run with it decides otherwise than one without it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from contrastive_app.judge.compared import Tally, differing_cells, right_more_often
from contrastive_app.judge.models import SETTINGS, settings_of
from contrastive_app.judge.recorded import recorded_responses, recorded_scores
from contrastive_app.report.cases import Case, case_of, votes_of
from contrastive_app.report.evidence import Evidence
from contrastive_app.report.tables import NONE, Row, Table, name_of
from contrastive_app.report.verdict import signed
from hydra_plugins.contrastive_sweeper.outcome import undoubted

MOST_SHOWN = 10  # responses
SPLITS = ("test", "valid")  # the first that both runs have recorded


class Changed(NamedTuple):
    """The two runs are of the same seed."""

    name: str  # of the configuration with the contrastive term
    seed: int
    split: str
    num_decisions: int
    num_differ: int
    words: str  # who is right more often
    table: Table  # per criterion
    cases: Sequence[Case]


def changed_judgements(evidence: Evidence) -> Changed | None:
    """None if there is nothing to compare with, or a file is missing that it is read from."""
    own, baseline = evidence.contrastive, evidence.baseline
    if baseline is None or own.is_baseline:
        return None
    both = [seed for seed in own.runs if seed in baseline.runs]
    without_doubt = [seed for seed in both if seed in undoubted(own.runs) and seed in undoubted(baseline.runs)]
    if not both:
        return None
    seed = next(iter(without_doubt or both))
    folders = [arm.runs[seed].folder for arm in (baseline, own)]
    split = next((split for split in SPLITS if _are_alike([folder / f"{split}.parquet" for folder in folders])), None)
    if split is None or not all((folder / "judge" / SETTINGS).is_file() for folder in folders):
        return None
    num_responses, tallies, cells = _compared(folders, split)
    name = name_of(evidence, own)
    return Changed(
        name,
        seed,
        split,
        num_responses * len(tallies),
        sum(tally.differ for tally in tallies.values()),
        _in_words(tallies, name),
        _table(tallies, name),
        list(_cases(cells, name)),
    )


def _are_alike(files: Sequence[Path]) -> bool:
    """Whether they hold the same responses in the same order: a sweep may be over the data."""
    if not all(file.is_file() for file in files):
        return False
    first, second = (pq.read_table(file, columns=["id", "context", "response"]) for file in files)
    return bool(first.equals(second))


def _compared(folders: Sequence[Path], split: str) -> tuple[int, dict[str, Tally], list[dict[str, Any]]]:
    """How many responses there are, the count per criterion, and the cells that differ; A is the first run."""
    settings = [settings_of(folder / "judge") for folder in folders]
    files = [folder / f"{split}.parquet" for folder in folders]
    responses = list(recorded_responses(files[0], settings[0]["criteria"]))
    first, second = (recorded_scores(file, known) for file, known in zip(files, settings, strict=True))
    tallies = {name: Tally() for name in settings[0]["criteria"] if name in settings[1]["criteria"]}
    return len(responses), tallies, list(differing_cells(responses, first, second, tallies))


def _in_words(tallies: Mapping[str, Tally], name: str) -> str:
    told = sum(tally.a_right + tally.b_right for tally in tallies.values())
    if not told:
        return ""
    own = sum(tally.b_right for tally in tallies.values())
    words = f"Of the {told} on which people voted, {name} is right on {own} and λ = 0 on {told - own}."
    for who, names in zip(("λ = 0", name), right_more_often(tallies), strict=True):
        if names:
            words += f" Beyond chance, {who} is right more often on {', '.join(names)}."
    return (
        words
        if any(right_more_often(tallies))
        else f"{words} On no criterion is either right more often beyond chance."
    )


def _table(tallies: Mapping[str, Tally], name: str) -> Table:
    rows = []
    for criterion, tally in tallies.items():
        if tally.differ:
            gain = tally.gain()
            shown = [NONE, NONE] if gain is None else [signed(gain[0]), f"{signed(gain[1])} to {signed(gain[2])}"]
            rows.append(Row(criterion, [*map(str, (tally.differ, tally.a_right, tally.b_right)), *shown]))
    return Table(["criterion", "differ", "λ = 0 right", f"{name} right", "gain in accuracy", "95 %"], rows)


def _cases(cells: Sequence[Mapping[str, Any]], name: str) -> Iterator[Case]:
    """One per response; first those on which the probabilities of a criterion lie furthest apart."""
    by_response: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=_apart, reverse=True):
        by_response.setdefault((cell["id"], cell["response"]), []).append(cell)
    for found in list(by_response.values())[:MOST_SHOWN]:
        yield case_of(found[0], Table(["", "yes votes", "λ = 0", name, "right"], [_row(cell, name) for cell in found]))


def _apart(cell: Mapping[str, Any]) -> float:
    return abs(float(cell["probability_a"] - cell["probability_b"]))


def _row(cell: Mapping[str, Any], name: str) -> Row:
    said = [f"{cell[f'probability_{who}']:.2f} {'yes' if cell[f'decision_{who}'] else 'no'}" for who in "ab"]
    right = {"a": "λ = 0", "b": name, None: NONE}[cell["right"]]
    return Row(cell["criterion"], [votes_of(cell), *said, right])
