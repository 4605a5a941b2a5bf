"""How far annotators agree: on each criterion, and each of them with the others if the data name them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from contrastive_learning.data.summary import krippendorff_alpha

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse

MOST_SHOWN = 30


class Agreement:
    """Counts how many votes of a cell say yes and no and, for each vote, whether the majority of the others agrees.

    A cell is a response and a criterion. A vote without others is not counted, and one whose others are split evenly is
    not compared with them. While responses pass, the memory grows with the annotators and the votes of a cell only.
    """

    def __init__(self) -> None:
        self.spread: dict[str, Counter[tuple[int, int]]] = {}  # criterion -> votes for yes and for no -> responses
        self.compared: Counter[str] = Counter()
        self.agreed: Counter[str] = Counter()

    def watch(self, responses: "Iterable[RatedResponse]") -> "Iterator[RatedResponse]":
        """`responses`, each counted as it passes."""
        for item in responses:
            for criterion, (yes, total) in item.votes.items():
                if total > 1:
                    self.spread.setdefault(criterion, Counter())[yes, total - yes] += 1
            for criterion, said in (item.judgements or {}).items():
                yes, total = item.votes[criterion]
                for annotator, vote in said:
                    lead = 2 * (yes - vote) - (total - 1)  # of yes among the others
                    if lead:
                        self.compared[annotator] += 1
                        self.agreed[annotator] += vote == (lead > 0)
            yield item

    def tables(self) -> list[Table]:
        """For the terminal; none of what the votes do not tell."""
        return [*([self._per_criterion()] if self.spread else []), *([self._per_annotator()] if self.compared else [])]

    def alphas(self) -> dict[str, float]:
        """Krippendorff's alpha per criterion: 1 = always the same vote, 0 = as by chance; NaN if all votes agree."""
        return {
            criterion: krippendorff_alpha(*np.repeat(list(spread), list(spread.values()), axis=0).T)
            for criterion, spread in self.spread.items()
        }

    def _per_criterion(self) -> Table:
        alphas = self.alphas()
        table = Table(title="Agreement beyond chance (Krippendorff's alpha)", title_justify="left")
        table.add_column("criterion")
        for name in ("two votes or more", "alpha"):
            table.add_column(name, justify="right")
        for criterion, alpha in alphas.items():
            table.add_row(criterion, f"{self.spread[criterion].total():,}", _shown(alpha))
        if len(alphas) > 1:  # of all votes together it would be higher, because the criteria differ in their rates
            known = [alpha for alpha in alphas.values() if not np.isnan(alpha)]
            table.add_section()
            table.add_row("mean", "", _shown(float(np.mean(known))) if known else "-")
        return table

    def _per_annotator(self) -> Table:
        """Those who agree least come first."""
        shares = {name: self.agreed[name] / count for name, count in self.compared.items()}
        least = sorted(shares, key=lambda name: (shares[name], name))[:MOST_SHOWN]
        title = "Agreement with the majority of the other annotators"
        if len(shares) > MOST_SHOWN:
            title = f"{title}, the lowest {MOST_SHOWN} of {len(shares)}"
        table = Table(title=title, title_justify="left")
        table.add_column("annotator")
        for name in ("votes compared", "agreement"):
            table.add_column(name, justify="right")
        for name in least:
            table.add_row(name, f"{self.compared[name]:,}", f"{shares[name]:.3f}")
        return table


def _shown(alpha: float) -> str:
    return "-" if np.isnan(alpha) else f"{alpha:.3f}"
