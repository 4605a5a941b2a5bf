"""The forms that judged data come in, known by their columns, and what their rows say about votes."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from contrastive_learning.choices import check_choice, did_you_mean
from contrastive_learning.data.answers import FORMS as FORMS_OF_ANSWERS
from contrastive_learning.data.answers import as_number
from contrastive_learning.data.columns import PLACE, TEXT
from contrastive_learning.data.exports import (
    PRODIGY,
    argilla_columns,
    argilla_row,
    label_studio_row,
    prodigy_judgements,
)
from contrastive_learning.data.look import ANNOTATOR, Look
from contrastive_learning.data.names import means
from contrastive_learning.data.notes import Notes
from contrastive_learning.data.rows import Row, is_missing, label
from contrastive_learning.data.traces import trace_row
from contrastive_learning.data.vote_counts import Judgement, Share, by_name, row_votes, split_cell

# in any spelling: see columns.key
CRITERION = ("criterion", "aspect", "dimension", "기준", "평가 기준", "평가 항목", "항목")
LABEL = ("label", "vote", "answer", "score", "rating", "라벨", "레이블", "점수", "평가", "판단")
NUMBERED = re.compile(r"(.+)[_ .-](\d+)")

Cells = Mapping[str, Any]  # criterion -> what a row says on it


@dataclass(frozen=True)
class Form:
    """How the rows of a file are read.

    Either `cells` gives the votes of a row per criterion, by nobody in particular, or `judgements` gives them one by
    one, with annotators. If `joins`, several rows may judge one response. `flat` brings a row into columns with the
    names that are read. `columns` are those that are read for votes.
    """

    name: str
    words: str
    columns: tuple[str, ...]
    cells: Callable[[Row], Cells] | None = None
    judgements: Callable[[Row], Iterable[Judgement]] | None = None
    joins: bool = False
    flat: Callable[[Row, Notes], Row] | None = None


class Missing(NamedTuple):
    """Why a form does not fit: the columns that it needs and that are not there."""

    columns: str


def recognised(look: Look, wanted: str, where: str, *, votes_needed: bool = True) -> Form:
    """The form named `wanted`, or the first that fits if that is auto.

    If none fits, the rows have no votes: UNJUDGED, or if these are needed ValueError in one line.
    """
    check_choice("data.source.format", wanted, ["auto", *FORMS])
    have = f"the columns are {', '.join(look.columns) or 'none'}"
    if {"chosen", "rejected"} <= set(look.columns):
        raise ValueError(
            f"{where}: chosen and rejected say which of two responses is preferred, but votes on criteria are needed; "
            'write one row per response, with prompt, response and votes such as {"preferred": 1}, and 0 if rejected'
        )
    if wanted != "auto":
        form = FORMS[wanted](look)
        if isinstance(form, Missing):
            raise ValueError(f"{where}: data.source.format={wanted} needs {form.columns}; {have}")
        return form
    for fitting in FORMS.values():
        form = fitting(look)
        if isinstance(form, Form):
            return form
    if not votes_needed:
        return UNJUDGED
    if look.wanted is not None:
        names = ", ".join(map(str, look.wanted))
        nearest = did_you_mean(names, [name for name in look.columns if name not in (*PLACE, *TEXT)])
        raise ValueError(f"{where}: data.source.criteria must name columns of votes, got {names}{nearest}; {have}")
    for name in ("label", "labels"):
        if any(isinstance(value, list) for value in look.values(name)):
            raise ValueError(
                f"{where}: {name} lists the labels that were chosen, as Doccano writes them, and does not say "
                "which others were looked at; write one column per label, with 1, 0, or nothing if nobody looked"
            )
    seen = look.few_valued()
    raise ValueError(
        f"{where}: votes is missing; {have}, and none holds only answers ({FORMS_OF_ANSWERS}){seen and f'; {seen}'}; "
        "write votes so, or for a scale set data.source.yes_from; data.source.criteria names columns that are criteria"
    )


def _label_studio(look: Look) -> Form | Missing:
    if not {"annotations", "data"} <= set(look.columns):
        return Missing("the fields data and annotations of Label Studio's JSON export")
    words = "tasks of Label Studio, one vote per completed annotation"
    return Form("label_studio", words, (*look.columns, "votes"), judgements=_judgements_of, flat=label_studio_row)


def _mlflow(look: Look) -> Form | Missing:
    if not {"trace_id", "assessments"} <= set(look.columns):
        return Missing("the columns trace_id and assessments of MLflow's traces")
    words = "traces of MLflow, one vote per feedback of a person"
    return Form("mlflow", words, ("votes",), judgements=_judgements_of, flat=trace_row)


def _prodigy(look: Look) -> Form | Missing:
    if not {"answer", "_input_hash"} <= set(look.columns):
        return Missing("the fields answer and _input_hash of Prodigy's JSON Lines")
    annotator = look.one_of(("_annotator_id", "_session_id"))
    own = tuple(name for name in look.columns if name.startswith("_") or name in PRODIGY)
    words = "tasks of Prodigy, one row per annotator; rejected and ignored choices are left out"
    if "options" not in look.columns:
        words = "tasks of Prodigy, one row per judgement"
    read = partial(prodigy_judgements, annotator, look.answers)
    return Form("prodigy", words, own, judgements=read, joins=True)


def _argilla(look: Look) -> Form | Missing:
    is_record = {"fields", "responses"} <= set(look.columns)
    columns = ("fields", "responses", "metadata") if is_record else argilla_columns(look.rows)
    if not columns:
        return Missing("the fields fields and responses, or columns such as <question>.responses, of Argilla's export")
    own = tuple(name for name in look.columns if name in ("status", "_server_id", "metadata", "inserted_at"))
    words = "records of Argilla, one vote per submitted response"
    return Form("argilla", words, (*columns, *own, "votes"), judgements=_judgements_of, flat=argilla_row)


def _judgements_of(row: Row) -> Iterable[Judgement]:
    judgements: list[Judgement] = row["votes"]
    return judgements


def _judgements(look: Look) -> Form | Missing:
    criterion, answer, annotator = (look.one_of(names) for names in (CRITERION, LABEL, ANNOTATOR))
    if criterion and answer:
        columns = (*([annotator] if annotator else []), criterion, answer)
        words = f"one row per judgement, with the columns {', '.join(columns)}"

        def long(row: Row) -> Iterator[Judgement]:
            if not is_missing(row.get(criterion)):
                yield Judgement(label(row[criterion], criterion), _annotator(row, annotator), row.get(answer))

        return Form("judgements", words, columns, judgements=long, joins=True)
    cells, columns = _row_cells(look, besides=[])
    votes = look.vote_cells() if look.vote_columns() else [cell for name in columns for cell in look.values(name)]
    if annotator is None or not columns or not all(map(_is_single, votes)):
        return Missing("annotator with one column per criterion (or votes), or annotator, criterion and label")

    def wide(row: Row) -> Iterator[Judgement]:
        who = _annotator(row, annotator)
        for name, value in cells(row).items():
            for vote in split_cell(value):
                yield Judgement(name, who, vote)

    words = f"one row per response and {annotator}, with one vote per criterion"
    return Form("judgements", words, (annotator, *columns), judgements=wide, joins=True)


def _annotator(row: Row, column: str | None) -> str | None:
    return None if column is None or is_missing(row.get(column)) else label(row[column], column)


def _is_single(cell: Any) -> bool:
    return not isinstance(cell, dict) and len(split_cell(cell)) < 2


def _row_cells(look: Look, besides: Iterable[str]) -> tuple[Callable[[Row], Cells], tuple[str, ...]]:
    """What gives the cells of a row, from columns of votes or from one column per criterion, and these columns."""
    if columns := look.vote_columns():
        return row_votes, columns
    if "labels" in look.columns:
        return _labels_of, ("labels",)
    columns = look.criteria(besides=besides)
    return partial(_cells_in, columns), columns


def _cells_in(columns: Sequence[str], row: Row) -> Cells:
    return {name: row.get(name) for name in columns}


def _labels_of(row: Row) -> Cells:
    return row_votes({"votes": row.get("labels")})


def _shares(look: Look) -> Form | Missing:
    shares = {name.removesuffix("_share"): name for name in look.columns if name.endswith("_share")}
    votes = look.vote_columns()
    numbers = [as_number(cell) for cell in look.vote_cells()] if votes and not shares else []
    are_shares = bool(numbers) and all(number is not None and 0 <= number <= 1 for number in numbers)
    counted = {name: f"{name}_num_votes" if f"{name}_num_votes" in look.columns else "num_votes" for name in shares}
    needed = {"num_votes"} if not shares else set(counted.values())
    if not (shares or are_shares) or not needed <= set(look.columns):
        return Missing("columns <criterion>_share, or shares of 0 to 1 in votes, and num_votes")

    def cells(row: Row) -> Cells:
        if shares:
            return {name: Share(row.get(column), row.get(counted[name])) for name, column in shares.items()}
        total = by_name(row.get("num_votes"))
        per_criterion = total if isinstance(total, dict) else defaultdict(lambda: total)
        return {name: Share(share, per_criterion[name]) for name, share in row_votes(row).items()}

    columns = (*shares.values(), *(() if shares else votes), *needed)
    return Form("shares", "one row per response, with shares of yes and num_votes", columns, cells=cells)


def _by_annotator(look: Look) -> Form | Missing:
    columns = look.vote_columns()
    cells: Callable[[Row], Cells] = row_votes
    if not columns:
        columns = look.criteria(look.is_by_annotator, besides=["labels"])
        cells = partial(_cells_in, columns)
    if not any(isinstance(by_name(cell), dict) for row in look.rows for cell in _readable(cells, row)):
        return Missing('votes by annotator, such as {"consistency": {"kim": 1, "lee": 0}} in votes')

    def judgements(row: Row) -> Iterator[Judgement]:
        for criterion, cell in cells(row).items():
            votes = by_name(cell)
            if isinstance(votes, dict):
                for annotator, vote in votes.items():
                    yield Judgement(criterion, annotator, vote)
            else:
                for vote in split_cell(votes):
                    yield Judgement(criterion, None, vote)

    words = "one row per response, with votes by annotator"
    return Form("by_annotator", words, columns, judgements=judgements)


def _readable(cells: Callable[[Row], Cells], row: Row) -> Iterable[Any]:
    try:
        return cells(row).values()
    except ValueError:  # the reader will name this row with its line
        return ()


def _responses(look: Look) -> Form | Missing:
    columns = look.vote_columns()
    if not columns:
        return Missing("votes, votes.<criterion>, or <criterion>_yes_count with <criterion>_no_count")
    return Form("responses", "one row per response, with its votes", columns, cells=row_votes)


def _annotator_columns(look: Look) -> Form | Missing:
    numbered: dict[str, list[str]] = defaultdict(list)
    for name in look.columns:
        match = NUMBERED.fullmatch(name)
        if match and (look.wanted is None or any(means(given, match[1]) for given in look.wanted)):
            numbered[match[1]].append(name)
    columns = {criterion: names for criterion, names in numbered.items() if len(names) > 1 and look.hold_answers(names)}
    if not columns:
        return Missing("one column per criterion and annotator, such as consistency_1, consistency_2")

    def cells(row: Row) -> Cells:
        return {criterion: [row.get(name) for name in names] for criterion, names in columns.items()}

    words = f"one row per response, with one column per annotator: {', '.join(columns)}"
    read = tuple(name for names in columns.values() for name in names)
    return Form("annotator_columns", words, read, cells=cells)


def _labels(look: Look) -> Form | Missing:
    cells, columns = _row_cells(look, besides=[])
    if not columns or look.vote_columns():
        return Missing("labels, or one column per criterion whose values are all answers")
    if columns == ("labels",):
        return Form("labels", "one row per response, with one label per criterion", columns, cells=cells)
    single = all(_is_single(cell) for name in columns for cell in look.values(name))
    held = "one label per criterion" if single else "the votes of each criterion in a column"
    return Form("labels", f"one row per response, with {held}: {', '.join(columns)}", columns, cells=cells)


FORMS: Mapping[str, Callable[[Look], Form | Missing]] = {
    "label_studio": _label_studio,
    "mlflow": _mlflow,
    "argilla": _argilla,
    "prodigy": _prodigy,
    "judgements": _judgements,
    "shares": _shares,
    "by_annotator": _by_annotator,
    "responses": _responses,
    "annotator_columns": _annotator_columns,
    "labels": _labels,
}
UNJUDGED = Form("responses", "one row per response, without votes", (), cells=lambda row: {})
