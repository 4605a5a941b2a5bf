"""Reads the rows of files, in whatever form, as responses with votes, and remembers what to tell the user."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from contrastive_learning.data.answers import Answers
from contrastive_learning.data.columns import PLACE, known_names, renamed
from contrastive_learning.data.forms import Form, Look, occurrences, recognised
from contrastive_learning.data.names import means, resolved
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.responses import Judgements, RatedResponse, VoteCount
from contrastive_learning.data.rows import Row, is_missing, label, shown
from contrastive_learning.data.tables import Piped, Table, place, read_rows
from contrastive_learning.data.texts import TextColumns
from contrastive_learning.data.vote_counts import Counted, Share, VoteCounter, VoteError, split_cell, vote_count

ROWS_LOOKED_AT = 1000  # at the start of a file, to tell its form
ROWS_COUNTED = 100_000  # whose values are listed if one of them is no answer
JUDGED_TWICE = "judgements replace an earlier one of the same annotator, response and criterion (the last one counts)"
JOINED = "rows without id repeat a response: their votes are added to its votes"
OTHER_VOTES = "responses have the context and response of another one, but other votes"
OTHER_ID = "responses have the context and response of another one, but another id (judgements are joined by id)"


Places = dict[str, tuple[Table, int]]  # id -> table and number of the row


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
    ) -> tuple["_File", Iterator[tuple[int, Row]]]:
        """What reads the rows of a table, and the rows."""
        rows = read_rows(path)
        first = list(islice(rows, ROWS_LOOKED_AT))
        if not first:
            raise ValueError(f"{path} must hold responses{' with votes' if votes_needed else ''}, got none")
        form, columns = self._form_of([row for _, row in first], str(path), votes_needed=votes_needed)
        about = split, path, form, columns
        keep = not votes_needed
        file = _File(*about, counter, self._answers, self._places, self._rules.hash_annotators, keep_unjudged=keep)
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


class _About(NamedTuple):
    """What a row says about its response, besides votes."""

    id: str | None
    domain: str
    context: tuple[str, ...]
    response: str
    group: str | None


@dataclass(slots=True)
class _Judged:
    """One response and what each annotator (a number, if nobody is named) said of it on each criterion."""

    line: int
    about: _About
    answers: dict[str, dict[str | int, bool]] = field(default_factory=dict)


class _File:
    """The responses of one file, whose rows have one form. `places` holds the ids of all files and where they are."""

    def __init__(
        self,
        split: str,
        path: Table,
        form: Form,
        columns: Collection[str],
        counter: VoteCounter,
        answers: Answers,
        places: Places,
        hash_annotators: bool,
        *,
        keep_unjudged: bool,
    ) -> None:
        self._keep_unjudged = keep_unjudged
        self._split, self._path, self._form, self._counter, self._places = split, path, form, counter, places
        self._answers, self._hash_annotators = answers, hash_annotators
        self._notes = Notes(split)
        self._texts = TextColumns(columns)
        self._used = {*PLACE, *self._texts.columns, *form.columns}
        self._identity = (*self._texts.columns, *PLACE)
        self._columns = set(self._used)
        self._unused: dict[str, object] = {}  # column -> its first value
        self._responses: list[RatedResponse] = []
        self._judged: dict[Hashable, _Judged] = {}  # by id, else by texts; by line if rows are not joined
        self._seen: dict[Hashable, _Judged] = {}  # by the cells as they are, which saves looking at them again
        self._equal: dict[Hashable, int] = {}  # texts -> position of the first response with them
        self._hashed: dict[str, str] = {}
        self._named: dict[Hashable, Judgements] = {}  # few patterns, many responses
        self.rows = 0
        self.without_votes = 0
        self.unjudged: list[RatedResponse] = []
        self.words = f"read as {form.name}, {form.words}{self._texts.words}"

    def remarks(self) -> list[str]:
        unused = ", ".join(f"{name or 'one without a name'} ({shown(value)})" for name, value in self._unused.items())
        return [*self._notes.remarks(), *([f"{self._split}: columns that are not used: {unused}"] if unused else [])]

    def read(self, rows: Iterable[tuple[int, Row]]) -> list[RatedResponse]:
        for line, row in rows:
            self._take(line, row)
        self._finish_all()
        return self._responses

    def each(self, rows: Iterable[tuple[int, Row]]) -> Iterator[RatedResponse]:
        for line, row in rows:
            self._take(line, row)
            if not self._form.joins:
                self._finish_all()
                yield from self._forgotten()
        self._finish_all()
        yield from self._forgotten()

    def _forgotten(self) -> list[RatedResponse]:
        """The responses so far, with which later ones are not compared."""
        responses, self._responses = self._responses, []
        for memory in (self._equal, self._places, self._named):
            memory.clear()
        return responses

    def _take(self, line: int, row: Row) -> None:
        self.rows += 1
        take = self._judge if self._form.judgements else self._count
        try:
            take(line, self._form.flat(row, self._notes) if self._form.flat else row)
        except ValueError as error:
            raise self._placed(error, line) from error

    def _finish_all(self) -> None:
        self._seen.clear()
        for judged in self._emptied():
            try:
                self._finish(judged)
            except ValueError as error:
                raise self._placed(error, judged.line) from error

    def _emptied(self) -> Iterator[_Judged]:
        """The judged responses in their order, each released when the next one is asked for, to save memory."""
        waiting = list(self._judged.values())[::-1]
        self._judged.clear()
        while waiting:
            yield waiting.pop()

    def _placed(self, error: ValueError, line: int) -> ValueError:
        values = self._values(error.criterion) if isinstance(error, VoteError) else ""
        return ValueError(f"{place(self._path, line)}: {error}{values}")

    def _about(self, row: Row) -> _About:
        if not row.keys() <= self._columns:
            self._note_columns(row)
        context, response, opening = self._texts.read(row, self._notes)
        domain = "default" if is_missing(row.get("domain")) else label(row["domain"], "domain")
        group = _first_label(row, "group") or _first_label(row, "conversation_id")
        if group is None and opening is not None:
            group = _guessed_group(self._split, domain, opening)
        return _About(_first_label(row, "id"), domain, context, response, group)

    def _note_columns(self, row: Row) -> None:
        for name in row.keys() - self._columns:
            if "votes" in self._used or not name.startswith("votes."):
                self._unused[name] = row[name]
            self._columns.add(name)

    def _count(self, line: int, row: Row) -> None:
        """Adds the response of a row in which no annotator is named."""
        assert self._form.cells is not None
        self._add(line, self._about(row), self._counter.count(self._form.cells(row)), None)

    def _judge(self, line: int, row: Row) -> None:
        """Notes the judgements of a row; the response is added when all rows are read."""
        assert self._form.judgements is not None
        judged = self._judged_in(line, row)
        for criterion, annotator, answer in self._form.judgements(row):
            if not self._counter.reads(criterion):
                continue
            try:
                yes = self._answers.read(answer)
            except ValueError as error:
                raise VoteError(criterion, error) from error
            if yes is None:
                continue
            answers = judged.answers.setdefault(criterion, {})
            who = len(answers) if annotator is None else self._name(annotator)
            if who in answers:
                response = judged.about.id or shown(judged.about.response)
                self._notes.add(JUDGED_TWICE, f"{annotator} on {criterion} of {response}")
            answers[who] = yes

    def _judged_in(self, line: int, row: Row) -> _Judged:
        """The response that `row` is about; if rows are joined, by id, or else by texts, domain and group."""
        if not self._form.joins:
            about = self._about(row)
            return self._judged.setdefault(line, _Judged(line, about))
        cells: Hashable = tuple(tuple(cell) if type(cell) is list else cell for cell in map(row.get, self._identity))
        try:
            judged = self._seen.get(cells)
        except TypeError:  # a list of messages
            cells = repr(cells)
            judged = self._seen.get(cells)
        if judged is None or not row.keys() <= self._columns:
            about = self._about(row)
            judged = self._judged.setdefault(about.id or about, _Judged(line, about))
            self._check_same(about, judged)
            self._seen[cells] = judged
        return judged

    def _check_same(self, about: _About, judged: _Judged) -> None:
        for name, here, there in zip(about._fields, about, judged.about, strict=True):
            if here != there:
                raise ValueError(
                    f"rows with one id must be about one response, got another {name} for {shown(about.id)} at "
                    f"{place(self._path, judged.line)}: {shown(there)} there, {shown(here)} here"
                )

    def _name(self, annotator: str) -> str:
        if not self._hash_annotators:
            return annotator
        if annotator not in self._hashed:
            self._hashed[annotator] = hashlib.blake2b(annotator.encode(), digest_size=8).hexdigest()
        return self._hashed[annotator]

    def _finish(self, judged: _Judged) -> None:
        """Adds the response with all its judgements."""
        counts = {name: vote_count(sum(said.values()), len(said)) for name, said in judged.answers.items()}
        named = {
            name: tuple((who, yes) for who, yes in said.items() if isinstance(who, str))
            for name, said in judged.answers.items()
        }
        judgements = self._named.setdefault(tuple(named.items()), named) if any(named.values()) else None
        self._add(judged.line, judged.about, self._counter.shared(counts), judgements)

    def _add(self, line: int, about: _About, votes: Mapping[str, VoteCount], judgements: Judgements | None) -> None:
        name = about.id or f"{self._split}:{line}"
        first = self._places.setdefault(name, (self._path, line))
        if first != (self._path, line):
            advice = "; if each row is one judgement, name who judged in a column annotator" if about.id else ""
            raise ValueError(f"id must be unique, got {shown(name)} also at {place(*first)}{advice}")
        if not votes and not self._keep_unjudged:
            self.without_votes += 1
            if self._split == "train":
                self._notes.add("responses without votes", name)
                self.unjudged.append(self._response(name, about, votes, None))
            else:
                self._notes.add("responses left out: no votes", name)
        elif not self._is_repeat(name, about, votes):
            self._responses.append(self._response(name, about, votes, judgements))

    def _response(
        self, name: str, about: _About, votes: Mapping[str, VoteCount], judgements: Judgements | None
    ) -> RatedResponse:
        return RatedResponse(name, about.domain, about.context, about.response, votes, about.group or name, judgements)

    def _is_repeat(self, name: str, about: _About, votes: Mapping[str, VoteCount]) -> bool:
        """Whether votes were added to an earlier response: without ids, equal responses are one."""
        key = (about.context, about.response) if about.id else about
        position = self._equal.setdefault(key, len(self._responses))
        if position == len(self._responses):
            return False
        first = self._responses[position]
        if about.id is None:
            self._notes.add(JOINED, f"{name} and {first.id}: {shown(about.response)}")
            self._responses[position] = replace(first, votes=self._counter.shared(_sums(first.votes, votes)))
        elif self._form.joins or first.votes != votes:
            self._notes.add(OTHER_ID if self._form.joins else OTHER_VOTES, f"{first.id} and {name}")
        return about.id is None

    def _values(self, criterion: str) -> str:
        """What the cells of a criterion hold, which tells more than the first cell that is no answer."""
        counts: Counter[str] = Counter()
        if isinstance(self._path, Piped):  # its rows come once
            return ""
        for _, row in islice(read_rows(self._path), ROWS_COUNTED):
            try:
                counts.update(map(shown, self._votes_on(criterion, row)))
            except ValueError:  # this row has another error, and the first one is told
                continue
        return f"; {criterion} holds {occurrences(counts)}" if counts else ""

    def _votes_on(self, criterion: str, row: Row) -> Sequence[object]:
        if self._form.flat:
            row = self._form.flat(row, Notes(self._split))
        if self._form.judgements:
            return [said.answer for said in self._form.judgements(row) if said.criterion == criterion]
        cell = self._form.cells(row).get(criterion) if self._form.cells else None
        return () if cell is None or isinstance(cell, Counted | Share) else split_cell(cell)


def _named(flat: Callable[[Row, Notes], Row] | None, names: Mapping[str, str], row: Row, notes: Notes) -> Row:
    return renamed(flat(row, notes) if flat else row, names)


def _flat(flat: Callable[[Row, Notes], Row], rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        try:
            yield flat(row, Notes(""))
        except ValueError:  # the reader will name this row with its line
            continue


def _first_label(row: Row, name: str) -> str | None:
    value = row.get(name)
    return None if is_missing(value) else label(value, name)


def _sums(first: Mapping[str, VoteCount], second: Mapping[str, VoteCount]) -> dict[str, VoteCount]:
    sums = dict(first)
    for criterion, count in second.items():
        before = first.get(criterion, VoteCount(0, 0))
        sums[criterion] = vote_count(before.yes + count.yes, before.total + count.total)
    return sums


def _guessed_group(split: str, domain: str, opening: str) -> str:
    """Conversations of one domain that open with the same turn are taken for one."""
    return hashlib.blake2b("\0".join((split, domain, opening)).encode(), digest_size=8).hexdigest()
