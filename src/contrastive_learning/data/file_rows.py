"""Makes responses of the rows of one file, whose form is known."""

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from contrastive_learning.data.answers import Answers
from contrastive_learning.data.columns import PLACE
from contrastive_learning.data.forms import Form
from contrastive_learning.data.look import occurrences
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.responses import Judgements, RatedResponse, VoteCount
from contrastive_learning.data.rows import Row, is_missing, label, shown
from contrastive_learning.data.tables import Piped, Table, place, read_rows
from contrastive_learning.data.texts import TextColumns
from contrastive_learning.data.vote_counts import Counted, Share, VoteCounter, VoteError, split_cell, vote_count

ROWS_COUNTED = 100_000  # whose values are listed if one of them is no answer
JUDGED_TWICE = "judgements replace an earlier one of the same annotator, response and criterion (the last one counts)"
JOINED = "rows without id repeat a response: their votes are added to its votes"
OTHER_VOTES = "responses have the context and response of another one, but other votes"
OTHER_ID = "responses have the context and response of another one, but another id (judgements are joined by id)"

Places = dict[str, tuple[Table, int]]  # id -> table and number of the row


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


class FileRows:
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
