"""How good the scores are, if the responses have votes: the table of a training run, and one row per domain."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from contrastive_learning.metrics import quality_metrics
from contrastive_learning.training.progress import results_table

SHOWN = ("macro_f1", "auroc", "brier")
MOST_DOMAINS = 30


def measured(tables: Iterable[pa.Table], settings: Mapping[str, Any]) -> list[Table]:
    """Tables for the terminal; none if no response has votes on a criterion of the judge. settings: judge.json."""
    criteria = settings["criteria"]
    parts = [_arrays(table, criteria) for table in tables]
    domains, probabilities, yes_votes, num_votes = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(domains):
        return []

    def metrics(rows: Any) -> dict[str, float]:
        votes = yes_votes[rows], num_votes[rows]
        return quality_metrics(probabilities[rows], *votes, criteria, settings["thresholds"])

    of_all = {f"all/{name}": value for name, value in metrics(slice(None)).items()}
    heading = f"{len(domains):,} response{'s' * (len(domains) != 1)} with votes"
    found = [results_table(of_all, criteria, ["all"], heading=heading)]
    names, counts = np.unique(domains, return_counts=True)
    if len(names) > 1:
        largest = [(str(names[index]), int(counts[index])) for index in np.argsort(-counts, kind="stable")]
        shown = {(name, count): metrics(domains == name) for name, count in largest[:MOST_DOMAINS]}
        found.append(_domains_table(shown, len(largest)))
    return found


def _arrays(table: pa.Table, criteria: Sequence[str]) -> tuple[Any, ...]:
    """Of the responses with votes."""
    yes_votes, num_votes = (np.array(table[name].to_pylist(), dtype=np.int32) for name in ("yes_votes", "num_votes"))
    probabilities = np.stack([table[f"probability/{name}"].to_numpy() for name in criteria], axis=1)
    domains = np.array(table["domain"].to_pylist(), dtype=object)
    judged = num_votes.any(axis=1)
    return domains[judged], probabilities[judged], yes_votes[judged], num_votes[judged]


def _domains_table(metrics: Mapping[tuple[str, int], Mapping[str, float]], number: int) -> Table:
    title = "Per domain" if number <= MOST_DOMAINS else f"Per domain, the largest {MOST_DOMAINS} of {number}"
    table = Table(title=title, title_justify="left")
    table.add_column("domain")
    for name in ("responses", *SHOWN):
        table.add_column(name, justify="right")
    for (domain, count), values in metrics.items():
        cells = (f"{values[name]:.3f}" if name in values else "-" for name in SHOWN)
        table.add_row(domain, f"{count:,}", *cells)
    return table
