"""Which responses to look at: those to ask one more annotator about, and those whose votes may be wrong."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from contrastive_learning.metrics import chances_of_error, posterior_shares, values_of_a_vote

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse

Order = Callable[..., np.ndarray[Any, Any]]
ORDERS: Mapping[str, Order] = {"ask_again": values_of_a_vote, "label_errors": chances_of_error}  # highest first
SCORES: Mapping[str, str] = {"ask_again": "value", "label_errors": "chance"}  # what a list calls its order


def check_listed(settings: Mapping[str, Any]) -> None:
    """Raises ValueError if the judge does not know how far vote shares spread. settings: judge.json."""
    if "concentrations" not in settings:
        raise ValueError("this judge is older than the lists: it does not know how vote shares spread; train it again")


class Longest:
    """The `number` cells, of all responses and criteria, that come first in the order `kind`, a key of ORDERS.

    Responses are added part by part; the memory does not grow with them.
    """

    def __init__(self, kind: str, number: int, settings: Mapping[str, Any]) -> None:
        self.kind, self._number, self._settings = kind, number, settings
        self._cells = np.empty((0, 5))  # score, row, criterion, probability, mean share with the votes
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """table: the scores of the next responses, in their order."""
        criteria = self._settings["criteria"]
        shares, probabilities = (
            np.stack([table[f"{kind}/{name}"].to_numpy().astype(np.float64) for name in criteria], axis=1)
            for kind in ("vote_share", "probability")
        )
        yes_votes, num_votes = (np.array(table[name].to_pylist()) for name in ("yes_votes", "num_votes"))
        known = shares, self._settings["concentrations"], yes_votes, num_votes
        score = ORDERS[self.kind](*known)
        rows, columns = np.nonzero(~np.isnan(score))
        values = (score, probabilities, posterior_shares(*known))
        score, probability, mean = (value[rows, columns] for value in values)
        found = np.stack([score, rows + self._rows, columns, probability, mean], axis=1)
        self._rows += len(table)
        together = np.concatenate([self._cells, found])
        self._cells = together[np.argsort(-together[:, 0], kind="stable")[: self._number]]

    def listed(self, responses: "Iterable[RatedResponse]") -> list[dict[str, Any]]:
        """One row per cell, first the one that is first in the order. responses: all, as they were added."""
        wanted = {int(row) for row in self._cells[:, 1]}
        texts = {row: item for row, item in enumerate(responses) if row in wanted}
        return [self._row(rank, cell, texts[int(cell[1])]) for rank, cell in enumerate(self._cells, start=1)]

    def _row(self, rank: int, cell: np.ndarray[Any, Any], item: "RatedResponse") -> dict[str, Any]:
        score, _, column, probability, mean = cell.tolist()
        criterion = self._settings["criteria"][int(column)]
        yes, total = item.votes.get(criterion, (0, 0))
        return {
            "rank": rank,
            "id": item.id,
            "criterion": criterion,
            SCORES[self.kind]: score,
            "yes_votes": yes,
            "num_votes": total,
            "probability": probability,
            "vote_share_with_votes": mean,
            "domain": item.domain,
            "context": list(item.context),
            "response": item.response,
        }
