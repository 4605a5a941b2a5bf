"""How fast a judge is in other runtimes, and what that costs in AUROC, measured here and now."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from rich.table import Table

from contrastive_learning.metrics import quality_metrics

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse
    from contrastive_learning.serving.judge import Judge

MOST_ROWS = 1000  # of a longer file, evenly spread ones
REPEATS = 3  # the fastest counts: other programs can only slow it
MOST_AUROC_LOST = 0.005
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Voted:
    """Responses with votes."""

    rows: pd.DataFrame  # context, response
    yes_votes: Array  # [responses, criteria]
    num_votes: Array

    @classmethod
    def recorded(cls, file: Path) -> "Voted":
        """Of a split that a run has recorded."""
        table = pq.read_table(file, columns=["context", "response", "yes_votes", "num_votes"]).to_pandas()
        return cls._some(
            table[["context", "response"]], *(np.stack(table[name]) for name in ("yes_votes", "num_votes"))
        )

    @classmethod
    def read(cls, responses: "Iterable[RatedResponse]", criteria: Sequence[str]) -> "Voted":
        """Raises ValueError if none has votes on these criteria."""
        items = [item for item in responses if any(name in item.votes for name in criteria)]
        if not items:
            raise ValueError(f"--data must have responses with votes on {', '.join(criteria)}")
        rows = pd.DataFrame(
            {"context": [list(item.context) for item in items], "response": [item.response for item in items]}
        )
        votes = np.array([[item.votes.get(name, (0, 0)) for name in criteria] for item in items])
        return cls._some(rows, votes[..., 0], votes[..., 1])

    @classmethod
    def _some(cls, rows: pd.DataFrame, yes_votes: Array, num_votes: Array) -> "Voted":
        spread = slice(None, None, -(-len(rows) // MOST_ROWS))
        return cls(rows[spread].reset_index(drop=True), yes_votes[spread], num_votes[spread])


@dataclass
class Measurement:
    seconds: float  # of the fastest pass
    auroc: float  # mean over the criteria
    decisions: Array  # [responses, criteria]


def measure(judges: "Mapping[str, Judge]", voted: Voted) -> dict[str, Measurement]:
    """Each judge on all rows, REPEATS times in turn. Raises ValueError if the votes define no AUROC."""
    found: dict[str, Measurement] = {}
    for judge in judges.values():
        judge.predict(None, voted.rows[:32])  # what is done once is not counted
    for _ in range(REPEATS):
        for name, judge in judges.items():
            start = time.perf_counter()
            judged = judge.predict(None, voted.rows)
            seconds = time.perf_counter() - start
            if name in found:
                found[name].seconds = min(found[name].seconds, seconds)
            else:
                found[name] = Measurement(seconds, *_quality(judged, judge.settings, voted))
    return found


def _quality(judged: pd.DataFrame, settings: Mapping[str, Any], voted: Voted) -> tuple[float, Array]:
    criteria = settings["criteria"]
    probabilities, decisions = (
        np.stack([judged[f"{kind}/{name}"] for name in criteria], axis=1) for kind in ("probability", "decision")
    )
    metrics = quality_metrics(probabilities, voted.yes_votes, voted.num_votes, criteria, settings["thresholds"])
    if "auroc" not in metrics:
        raise ValueError(
            "AUROC cannot be measured: on no criterion are there responses of both kinds; give other --data"
        )
    return metrics["auroc"], decisions


HEAD = ("network", "rows per second", "speed", "AUROC", "change", "decisions that differ")


def cells_of(found: Mapping[str, Measurement], num_rows: int, baseline: str) -> list[list[str]]:
    """A row per judge, with the columns HEAD. baseline: the name of the judge that they are compared with."""
    own = found[baseline]
    return [
        [
            name,
            f"{num_rows / each.seconds:,.0f}",
            f"{own.seconds / each.seconds:.2f} x",
            f"{each.auroc:.4f}",
            f"{each.auroc - own.auroc:+.4f}",
            f"{np.mean(each.decisions != own.decisions):.2%}",
        ]
        for name, each in found.items()
    ]


def table_of(cells: Iterable[Sequence[str]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in HEAD:
        table.add_column(name, justify="left" if name == HEAD[0] else "right")
    for row in cells:
        table.add_row(*row)
    return table
