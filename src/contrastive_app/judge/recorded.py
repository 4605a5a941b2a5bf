"""What a run has recorded of a split: its responses, and what its judge said of them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contrastive_learning.data.responses import RatedResponse, VoteCount
from contrastive_learning.metrics import vote_shares


def recorded_responses(file: Path, criteria: Sequence[str]) -> Iterator[RatedResponse]:
    """The responses of a file that `write_embeddings` wrote. criteria: of its judge, in their order."""
    for batch in pq.ParquetFile(file).iter_batches(
        columns=["id", "domain", "context", "response", "yes_votes", "num_votes"]
    ):
        for row in batch.to_pylist():
            counts = zip(criteria, row["yes_votes"], row["num_votes"], strict=True)
            votes = {name: VoteCount(round(yes), round(total)) for name, yes, total in counts if total}
            yield RatedResponse(row["id"], row["domain"], tuple(row["context"]), row["response"], votes, row["id"])


def recorded_scores(file: Path, settings: Mapping[str, Any]) -> pa.Table:
    """One row per response of the same file, with columns that `Scorer.table` has, too.

    Columns: yes_votes, num_votes; probability, decision and vote_share per criterion. settings: judge.json of the run.
    """
    recorded = pq.read_table(file, columns=["probabilities", "yes_votes", "num_votes"])
    probabilities = np.array(recorded["probabilities"].to_pylist())
    shares = vote_shares(probabilities, np.array(settings["vote_shares"]))
    columns: dict[str, Any] = {name: recorded[name] for name in ("yes_votes", "num_votes")}
    for index, criterion in enumerate(settings["criteria"]):
        columns[f"probability/{criterion}"] = probabilities[:, index]
        columns[f"decision/{criterion}"] = probabilities[:, index] > settings["thresholds"][index]
        columns[f"vote_share/{criterion}"] = shares[:, index]
    return pa.table(columns)
