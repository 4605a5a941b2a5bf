"""Reads the rows of files, in whatever form, as responses with votes, and remembers what to tell the user."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

from contrastive_learning.data.answers import Answers
from contrastive_learning.data.columns import known_names, renamed
from contrastive_learning.data.file_rows import FileRows, Places
from contrastive_learning.data.forms import Form, recognised
from contrastive_learning.data.look import Look
from contrastive_learning.data.names import means, resolved
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.responses import RatedResponse
from contrastive_learning.data.rows import Row
from contrastive_learning.data.tables import Table, read_rows
from contrastive_learning.data.vote_counts import VoteCounter

ROWS_LOOKED_AT = 1000  # at the start of a file, to tell its form


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """Settings of `data.source` that say what the rows mean."""

    format: str  # auto, or one of forms.FORMS
    yes_from: float | None  # answers are points of a scale, and from this one on they mean yes
    hash_annotators: bool
    criteria: Sequence[object] | None  # names, as Hydra reads them; None: all


class Reader:
    """Reads files one after another, train's first, and checks that ids are unique across all of them."""

    def __init__(self, rules: ReadingRules) -> None:
        self._rules = rules
        self._answers = Answers(rules.yes_from)
        self._places: Places = {}
        self._forms: dict[str, list[str]] = defaultdict(list)  # what rows were taken for -> splits
        self._remarks: list[str] = []
        self.found: list[str] = []  # the criteria of train, or of everything that `each` has read
        self.rows: dict[str, int] = {}  # split -> rows read
        self.unjudged: list[RatedResponse] = []  # those of train that have no votes

    def remarks(self) -> list[str]:
        """What the rows were taken for comes first."""
        forms = "; ".join(f"{', '.join(splits)}: {words}" for words, splits in self._forms.items())
        return [forms, *self._remarks]

    def read(self, split: str, path: Table) -> list[RatedResponse]:
        """The responses of one file that have votes; of train, `unjudged` gets the others.

        Raises ValueError that names file, line and field.
        """
        known = self.found if self.found and self._rules.criteria is None else None
        counter = VoteCounter(self._rules.criteria, known, self._answers)
        file, rows = self._opened(split, path, counter, votes_needed=True)
        responses = file.read(rows)
        self.found = self.found or list(counter.found)
        for criterion in self._rules.criteria or ():
            resolved("a name in data.source.criteria", criterion, self.found)
        if not responses:
            raise ValueError(f"{path} must hold responses with votes, got {file.without_votes:,} without votes")
        self.rows[split] = file.rows
        self.unjudged += file.unjudged
        self._forms[file.words].append(split)
        self._remarks += file.remarks()
        return responses

    def each(self, split: str, path: Table) -> Iterator[RatedResponse]:
        """The responses of one table in turn, whether or not they have votes; the memory does not grow with them.

        Only if several rows may judge one response, all rows are read before the first one is given. Otherwise each row
        is one response, also if two rows are equal or have one id. Raises ValueError that names file, line and field.
        """
        counter = VoteCounter(self._rules.criteria, None, self._answers)
        file, rows = self._opened(split, path, counter, votes_needed=False)
        yield from file.each(rows)
        self.found = list(dict.fromkeys([*self.found, *counter.found]))
        self.rows[split] = file.rows
        self._forms[file.words].append(split)
        self._remarks += file.remarks()

    def _opened(
        self, split: str, path: Table, counter: VoteCounter, *, votes_needed: bool
    ) -> tuple[FileRows, Iterator[tuple[int, Row]]]:
        """What reads the rows of a table, and the rows."""
        rows = read_rows(path)
        first = list(islice(rows, ROWS_LOOKED_AT))
        if not first:
            raise ValueError(f"{path} must hold responses{' with votes' if votes_needed else ''}, got none")
        form, columns = self._form_of([row for _, row in first], str(path), votes_needed=votes_needed)
        about = split, path, form, columns
        keep = not votes_needed
        file = FileRows(*about, counter, self._answers, self._places, self._rules.hash_annotators, keep_unjudged=keep)
        return file, chain(first, rows)

    def _form_of(self, rows: Sequence[Row], where: str, *, votes_needed: bool) -> tuple[Form, Collection[str]]:
        """The form of the first rows, and their columns: when the rows are flat, under the names that are read."""
        names = self._names_of(rows, where)
        named = [renamed(row, names) for row in rows]
        columns = dict.fromkeys(name for row in named for name in row)
        look = Look(named, tuple(columns), self._rules.criteria, self._answers)
        form = recognised(look, self._rules.format, where, votes_needed=votes_needed)
        if form.flat:
            rows = list(_flat(form.flat, rows))
            names = self._names_of(rows, where)
        if names:
            words = "".join(f"; {known} from the column {name}" for name, known in names.items())
            form = replace(form, flat=partial(_named, form.flat, names), words=form.words + words)
        return form, dict.fromkeys(names.get(name, name) for row in rows for name in row)

    def _names_of(self, rows: Sequence[Row], where: str) -> Mapping[str, str]:
        columns = {name for row in rows for name in row}
        criteria = {name for name in columns for given in self._rules.criteria or () if means(given, name)}
        try:
            return known_names(rows, criteria, self._answers)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _named(flat: Callable[[Row, Notes], Row] | None, names: Mapping[str, str], row: Row, notes: Notes) -> Row:
    return renamed(flat(row, notes) if flat else row, names)


def _flat(flat: Callable[[Row, Notes], Row], rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        try:
            yield flat(row, Notes(""))
        except ValueError:  # the reader will name this row with its line
            continue
