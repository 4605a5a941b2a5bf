"""Which judgements changed: where a run with the contrastive term decides otherwise than one without it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from contrastive_app.judge.compared import Tally, differing_cells, right_more_often
from contrastive_app.judge.models import SETTINGS, settings_of
from contrastive_app.judge.recorded import recorded_responses, recorded_scores
from contrastive_app.report.cases import Case, case_of, votes_of
from contrastive_app.report.evidence import Evidence
from contrastive_app.report.tables import NONE, Row, Table, name_of
from contrastive_app.report.wording import signed
from contrastive_learning.data.responses import RatedResponse
from hydra_plugins.contrastive_sweeper.outcome import undoubted

MOST_SHOWN = 10  # responses
SPLITS = ("test", "valid")  # the first that is recorded is compared on
NO_CONTRAST = "λ = 0"


class Changed(NamedTuple):
    """Where a judge decides otherwise than another, on the same responses."""

    name: str
    other: str  # the name of the other judge
    split: str
    num_decisions: int
    num_differ: int
    words: str  # who is right more often
    table: Table  # per criterion
    cases: Sequence[Case]
    seed: int | None = None  # of both, if they are runs of one sweep


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
    folders = [arm.runs[seed].folder for arm in (own, baseline)]
    split = next((split for split in SPLITS if _are_alike([folder / f"{split}.parquet" for folder in folders])), None)
    if split is None or not all((folder / "judge" / SETTINGS).is_file() for folder in folders):
        return None
    settings = settings_of(folders[1] / "judge")

    def without(_: Sequence[RatedResponse]) -> pa.Table:
        return recorded_scores(folders[1] / f"{split}.parquet", settings)

    names = name_of(evidence, own), NO_CONTRAST
    return compared(folders[0], split, without, settings["criteria"], names)._replace(seed=seed)


def compared(
    folder: Path,
    split: str,
    other: Callable[[Sequence[RatedResponse]], pa.Table],
    criteria: Sequence[str],
    names: tuple[str, str],
) -> Changed:
    """The run in `folder` against another judge, on what the run has recorded of `split`.

    other: gives the columns probability/… and decision/… of its `criteria`, one row per response. names: of the two.
    """
    settings, file = settings_of(folder / "judge"), folder / f"{split}.parquet"
    responses = list(recorded_responses(file, settings["criteria"]))
    # A is the other judge, so that a gain is one over it
    tallies = {name: Tally() for name in settings["criteria"] if name in criteria}
    cells = list(differing_cells(responses, other(responses), recorded_scores(file, settings), tallies))
    return Changed(
        *names,
        split,
        len(responses) * len(tallies),
        sum(tally.differ for tally in tallies.values()),
        _in_words(tallies, names),
        _table(tallies, names),
        list(_cases(cells, names)),
    )


def _are_alike(files: Sequence[Path]) -> bool:
    """Whether they hold the same responses in the same order: a sweep may be over the data."""
    if not all(file.is_file() for file in files):
        return False
    first, second = (pq.read_table(file, columns=["id", "context", "response"]) for file in files)
    return bool(first.equals(second))


def _in_words(tallies: Mapping[str, Tally], names: tuple[str, str]) -> str:
    told = sum(tally.a_right + tally.b_right for tally in tallies.values())
    if not told:
        return ""
    own = sum(tally.b_right for tally in tallies.values())
    words = f"Of the {told} on which people voted, {names[0]} is right on {own} and {names[1]} on {told - own}."
    for who, criteria in zip(reversed(names), right_more_often(tallies), strict=True):
        if criteria:
            words += f" Beyond chance, {who} is right more often on {', '.join(criteria)}."
    return (
        words
        if any(right_more_often(tallies))
        else f"{words} On no criterion is either right more often beyond chance."
    )


def _table(tallies: Mapping[str, Tally], names: tuple[str, str]) -> Table:
    rows = []
    for criterion, tally in tallies.items():
        if tally.differ:
            gain = tally.gain()
            shown = [NONE, NONE] if gain is None else [signed(gain[0]), f"{signed(gain[1])} to {signed(gain[2])}"]
            rows.append(Row(criterion, [*map(str, (tally.differ, tally.a_right, tally.b_right)), *shown]))
    return Table(["criterion", "differ", f"{names[1]} right", f"{names[0]} right", "gain in accuracy", "95 %"], rows)


def _cases(cells: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> Iterator[Case]:
    """One per response; first those on which the probabilities of a criterion lie furthest apart."""
    by_response: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in sorted(cells, key=_apart, reverse=True):
        by_response.setdefault((cell["id"], cell["response"]), []).append(cell)
    for found in list(by_response.values())[:MOST_SHOWN]:
        heading = ["", "yes votes", names[1], names[0], "right"]
        yield case_of(found[0], Table(heading, [_row(cell, names) for cell in found]))


def _apart(cell: Mapping[str, Any]) -> float:
    return abs(float(cell["probability_a"] - cell["probability_b"]))


def _row(cell: Mapping[str, Any], names: tuple[str, str]) -> Row:
    said = [f"{cell[f'probability_{who}']:.2f} {'yes' if cell[f'decision_{who}'] else 'no'}" for who in "ab"]
    right = {"a": names[1], "b": names[0], None: NONE}[cell["right"]]
    return Row(cell["criterion"], [votes_of(cell), *said, right])
