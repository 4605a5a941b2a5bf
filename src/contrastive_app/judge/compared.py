"""Two judges on the same responses: where their decisions differ, and which of them is right more often."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import binomtest

from contrastive_app.judge.files import WRITERS
from contrastive_app.judge.scores import Scorer
from contrastive_app.judge.unfinished import parts
from contrastive_learning.data.responses import RatedResponse, VoteCount

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "criterion": pa.string(),
        "yes_votes": pa.int32(),
        "num_votes": pa.int32(),
        "probability_a": pa.float32(),
        "probability_b": pa.float32(),
        "decision_a": pa.bool_(),
        "decision_b": pa.bool_(),
        "right": pa.string(),  # a or b, null without votes
        "domain": pa.string(),
        "context": pa.list_(pa.string()),
        "response": pa.string(),
    }
)


@dataclass
class Tally:
    """Of one criterion: responses, with votes, and those with other decisions of the two judges."""

    num_voted: int = 0
    differ: int = 0
    a_right: int = 0  # the decision that is the majority's, where they differ; a tie is a "no"
    b_right: int = 0

    def gain(self) -> tuple[float, float, float] | None:
        """The accuracy of B less that of A, with its 95 % interval; None if the votes do not tell.

        McNemar's comparison: only the responses on which they differ count, and given their number those on which B is
        right are binomial (the interval is Clopper and Pearson's).

        >>> [round(value, 3) for value in Tally(num_voted=100, differ=10, a_right=2, b_right=8).gain()]
        [0.06, -0.011, 0.095]
        """
        told = self.a_right + self.b_right
        if not told:
            return None
        result = binomtest(self.b_right, told)
        ends = result.proportion_ci(0.95, method="exact")
        at_share = [(2 * share - 1) * told / self.num_voted for share in (result.statistic, ends.low, ends.high)]
        return at_share[0], at_share[1], at_share[2]


def compare(
    judges: Sequence[Path],
    criteria: Sequence[str],
    responses: Callable[[], Iterator[RatedResponse]],
    out: Path,
    progress: Progress,
) -> dict[str, Tally]:
    """Write the cells on which the two judges decide differently to `out`, in the order of the responses.

    judges: the folders of A and B. criteria: those of both. responses: gives them anew at each call. Returns what was
    counted per criterion.
    """
    total = sum(1 for _ in progress.track(responses(), total=None, description="reading"))  # all are checked
    scorers = [Scorer(folder, 0) for folder in judges]
    tallies = {criterion: Tally() for criterion in criteria}
    task = progress.add_task("judging", total=total)

    def differing() -> Iterator[pa.Table]:
        for part in parts(responses()):
            first, second = (scorer.table(part) for scorer in scorers)
            rows = differing_cells(part, first, second, tallies)
            progress.update(task, advance=len(part))
            yield pa.Table.from_pylist(list(rows), SCHEMA)

    temporary = out.with_name(f".writing-{out.name}")
    WRITERS[out.suffix](differing(), temporary)
    temporary.replace(out)
    return tallies


def differing_cells(
    part: Sequence[RatedResponse], first: pa.Table, second: pa.Table, tallies: Mapping[str, Tally]
) -> Iterator[dict[str, Any]]:
    """One row of SCHEMA per response and criterion on which A and B decide differently; all are counted in `tallies`.

    first, second: what A and B say of the responses `part`, with columns probability/… and decision/… per criterion.
    """
    cells: dict[int, list[dict[str, Any]]] = {}
    for criterion, tally in tallies.items():
        votes = [item.votes.get(criterion, VoteCount(0, 0)) for item in part]
        tally.num_voted += sum(count.total > 0 for count in votes)
        chances, decisions = (
            [table[f"{kind}/{criterion}"].to_numpy() for table in (first, second)]
            for kind in ("probability", "decision")
        )
        for row in np.flatnonzero(decisions[0] != decisions[1]).tolist():
            count = votes[row]
            right = ("a" if decisions[0][row] == (2 * count.yes > count.total) else "b") if count.total else None
            tally.differ += 1
            tally.a_right += right == "a"
            tally.b_right += right == "b"
            cell = {"id": part[row].id, "criterion": criterion, "yes_votes": count.yes, "num_votes": count.total}
            cell |= {f"probability_{name}": values[row] for name, values in zip("ab", chances, strict=True)}
            cell |= {f"decision_{name}": values[row] for name, values in zip("ab", decisions, strict=True)}
            texts = {"domain": part[row].domain, "context": list(part[row].context), "response": part[row].response}
            cells.setdefault(row, []).append(cell | {"right": right} | texts)
    for row in sorted(cells):
        yield from cells[row]


def right_more_often(tallies: Mapping[str, Tally]) -> tuple[list[str], list[str]]:
    """The criteria on which A, and those on which B is right more often, beyond chance."""
    gains = {name: gain for name, tally in tallies.items() if (gain := tally.gain())}
    return [name for name, gain in gains.items() if gain[2] < 0], [name for name, gain in gains.items() if gain[1] > 0]


def print_tallies(tallies: Mapping[str, Tally], console: Console) -> None:
    title = "Where decisions differ: how often A and B are right, and the gain in accuracy"
    table = Table(title=title, title_justify="left")
    table.add_column("criterion")
    for name in ("differ", "A", "B", "B - A (95 %)"):
        table.add_column(name, justify="right")
    for criterion, tally in tallies.items():
        gain = tally.gain()
        shown = "-" if gain is None else f"{gain[0]:+.3f} ({gain[1]:+.3f} to {gain[2]:+.3f})"
        table.add_row(criterion, *(f"{number:,}" for number in (tally.differ, tally.a_right, tally.b_right)), shown)
    console.print(table)
    clear = dict(zip("AB", right_more_often(tallies), strict=True))
    for who, names in clear.items():
        if names:
            console.print(f"{who} is right more often on {', '.join(names)}")
    if not any(clear.values()):
        console.print("neither is right more often beyond chance on any criterion")
