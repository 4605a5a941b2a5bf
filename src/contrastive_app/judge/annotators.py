"""How far each annotator agrees with the others, if the data name them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from contrastive_learning.data.responses import RatedResponse

MOST_SHOWN = 30


class Agreement:
    """Counts, for each vote, whether the majority of the other annotators of that cell says the same.

    Votes without others, or whose others are split evenly, are not compared. The memory grows with the annotators only.
    """

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.agreed: Counter[str] = Counter()

    def watch(self, responses: "Iterable[RatedResponse]") -> "Iterator[RatedResponse]":
        """`responses`, each counted as it passes."""
        for item in responses:
            for criterion, said in (item.judgements or {}).items():
                yes, total = item.votes[criterion]
                for annotator, vote in said:
                    lead = 2 * (yes - vote) - (total - 1)  # of yes among the others
                    if lead:
                        self.compared[annotator] += 1
                        self.agreed[annotator] += vote == (lead > 0)
            yield item

    def table(self) -> Table | None:
        """Those who agree least come first; None if nobody can be compared."""
        if not self.compared:
            return None
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
