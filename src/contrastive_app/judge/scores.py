"""What a judge says of some responses, as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from contrastive_learning.metrics import vote_share_intervals

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse
    from contrastive_learning.serving.judge import Judge


def load(folder: Path) -> "Judge":
    """The judge in a folder with judge.json."""
    from mlflow.pyfunc import PythonModelContext

    from contrastive_learning.serving.judge import Judge

    judge = Judge()
    judge.load_context(PythonModelContext(artifacts={"judge": str(folder)}, model_config=None))
    return judge


class Scorer:
    """The judge in a folder with judge.json: the one that MLflow serves.

    neighbours: how many training responses are given as reasons; 0: none. Raises ValueError if the judge has not so
    many.
    """

    def __init__(self, folder: Path, neighbours: int) -> None:
        self._judge = load(folder)
        self._judge.check_neighbours(neighbours)
        self._neighbours = neighbours

    @property
    def remark(self) -> str | None:
        """Why scores may differ a little from those that the run has recorded."""
        if self._judge.dtype is None:
            return None
        name = str(self._judge.dtype).removeprefix("torch.")
        return f"computed in {name}, as in training: other batches round otherwise, which may change the third decimal"

    def table(self, responses: Sequence["RatedResponse"]) -> pa.Table:
        """One row per response, in their order.

        Columns: `id`; those of the served judge per criterion, with the ends of the vote share's interval; and those of
        `files.HIDDEN`.
        """
        settings = self._judge.settings
        rows = pd.DataFrame(
            {"context": [item.context for item in responses], "response": [item.response for item in responses]}
        )
        judged = self._judge.predict(None, rows, {"neighbours": self._neighbours})
        columns: dict[str, Any] = {"id": [item.id for item in responses]}
        for index, criterion in enumerate(settings["criteria"]):
            shares = judged[f"vote_share/{criterion}"].to_numpy()
            columns[f"probability/{criterion}"] = judged[f"probability/{criterion}"].to_numpy(np.float32)
            columns[f"decision/{criterion}"] = judged[f"decision/{criterion}"].to_numpy(bool)
            columns[f"vote_share/{criterion}"] = shares.astype(np.float32)
            if "concentrations" in settings:  # not in judges recorded before there were intervals
                low, high = vote_share_intervals(shares, settings["concentrations"][index])
                columns[f"vote_share_low/{criterion}"] = low.astype(np.float32)
                columns[f"vote_share_high/{criterion}"] = high.astype(np.float32)
            if self._neighbours:
                columns[f"neighbours/{criterion}"] = judged[f"neighbours/{criterion}"].tolist()
        votes = [[item.votes.get(criterion, (0, 0)) for criterion in settings["criteria"]] for item in responses]
        columns["domain"] = [item.domain for item in responses]
        columns["yes_votes"] = [[yes for yes, _ in row] for row in votes]
        columns["num_votes"] = [[total for _, total in row] for row in votes]
        return pa.table(columns)
