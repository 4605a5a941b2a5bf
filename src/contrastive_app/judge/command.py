"""Judges the responses of a file with a trained judge. Votes are not needed; if there are some, it is measured."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrastive_app.judge.annotation_tools import TOOLS
from contrastive_app.judge.models import FORMS, SETTINGS, find_judge
from contrastive_app.judge.unfinished import ROWS_PER_PART, Unfinished
from contrastive_app.launched import FOLLOWER_WAIT_SECONDS, is_follower, num_launched, wait_to_be_stopped
from contrastive_app.places import command
from contrastive_app.secrets import redact_output

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table as RichTable

    from contrastive_learning.data.reading import Reader, ReadingRules
    from contrastive_learning.data.responses import RatedResponse
    from contrastive_learning.data.tables import Table

PIPE = "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 130 after Ctrl-C, 1 after an error, which takes one line."""
    # before torch is loaded: OpenMP threads that spin while they wait take the cores from other runs on this machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    redact_output()
    chosen = _parser().parse_args(arguments)
    try:
        _pipe(chosen) if chosen.file == PIPE else _file(chosen)
    except ValueError as error:
        wait_to_be_stopped(error, FOLLOWER_WAIT_SECONDS)
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # who reads the scores has enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=command("judge"), description=__doc__)
    parser.add_argument("file", help="responses in any form that data=votes reads; - reads JSON Lines and writes them")
    parser.add_argument("--model", help=f"{FORMS}; by default the best run of the latest sweep, else the latest run")
    parser.add_argument("--store", help="MLflow's address or SQLite file; by default $MLFLOW_TRACKING_URI or mlflow.db")
    parser.add_argument("--out", type=Path, help="a .jsonl, .csv or .parquet file; by default beside FILE")
    parser.add_argument("--neighbours", type=int, default=0, metavar="K", help="give the K nearest training responses")
    cells = "N pairs of response and criterion"
    parser.add_argument("--ask-again", type=int, metavar="N", help=f"list {cells} for which one more vote tells most")
    parser.add_argument("--label-errors", type=int, metavar="N", help=f"list {cells} whose votes are likely wrong")
    parser.add_argument("--lists-for", choices=TOOLS, help="write these lists as tasks that this tool imports")
    parser.add_argument("--format", default="auto", help="as data.source.format, if FILE's form is not recognised")
    parser.add_argument("--yes-from", type=float, metavar="X", help="as data.source.yes_from, if votes are on a scale")
    return parser


def _file(chosen: argparse.Namespace) -> None:
    from rich.console import Console

    from contrastive_app.judge.files import beside, check_suffix, list_beside
    from contrastive_learning.data.files import existing
    from contrastive_learning.data.tables import suffix_of

    file = existing(chosen.file, "FILE")
    tables = _tables(file)
    out = chosen.out or beside(file, "" if file.is_dir() else suffix_of(file))
    check_suffix(out)
    for path in (out, *(list_beside(out, kind, chosen.lists_for) for kind in _lists(chosen))):
        if path.exists() and not is_follower():
            raise ValueError(f"{path} exists already: remove it, or choose another --out")
    for kind, number in _lists(chosen).items():
        if number < 1:
            raise ValueError(f"--{kind.replace('_', '-')} must be at least 1, got {number}")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out must be in a folder that exists, got {out}")
    console = Console(stderr=True, quiet=is_follower(), highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        console.print(f"judge: {which}")
        _score(chosen, tables, folder, out, console)


def _tables(file: Path) -> "dict[str, Table]":
    """Name, which starts the ids of rows without id, -> table."""
    from contrastive_learning.data.folders import tables_in
    from contrastive_learning.data.tables import READABLE, READERS, suffix_of

    if file.is_dir():
        return tables_in(file)[0]
    if suffix_of(file) not in READERS:
        raise ValueError(f"FILE must end in {READABLE}; got {file}")
    return {"row": file}


def _score(
    chosen: argparse.Namespace, tables: "Mapping[str, Table]", folder: Path, out: Path, console: "Console"
) -> None:
    from contrastive_app.judge.annotators import Agreement
    from contrastive_app.judge.lists import check_listed
    from contrastive_app.judge.scores import Scorer
    from contrastive_learning.data.reading import Reader
    from contrastive_learning.runtime.devices import join_processes, leave_processes
    from contrastive_learning.runtime.processes import broadcast_from_main

    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    rules = _rules(chosen, settings)
    if _lists(chosen):
        check_listed(settings)
    scorer = Scorer(folder, chosen.neighbours)
    unfinished = Unfinished(out, _about(chosen, tables, folder))
    reader, agreement = Reader(rules), Agreement()
    with _progress(console) as progress:
        if num_launched() > 1:
            join_processes("auto")
        if not is_follower():
            _begin(unfinished, tables, rules, progress)
        unfinished.num_rows, missing = broadcast_from_main((unfinished.num_rows, unfinished.missing()))
        if num_launched() > 1:
            leave_processes()
        own = set(missing[int(os.environ.get("RANK", 0)) :: num_launched()])
        task = progress.add_task("judging", total=unfinished.num_rows)
        for number, part in enumerate(_parts(agreement.watch(_responses(reader, tables)))):
            if number in own:
                unfinished.write(number, scorer.table(part))
            progress.update(task, advance=len(part))
    if not is_follower():
        unfinished.wait()
        for kind, number in _lists(chosen).items():
            _write_list(chosen, kind, number, unfinished, settings, _responses(Reader(rules), tables), console)
        _finish(unfinished, settings, reader.found, agreement.table(), console)


def _lists(chosen: argparse.Namespace) -> dict[str, int]:
    """Kind -> number of rows, of the lists that are asked for."""
    asked = {"ask_again": chosen.ask_again, "label_errors": chosen.label_errors}
    return {kind: number for kind, number in asked.items() if number is not None}


def _write_list(
    chosen: argparse.Namespace,
    kind: str,
    number: int,
    unfinished: Unfinished,
    settings: Mapping[str, Any],
    responses: "Iterator[RatedResponse]",
    console: "Console",
) -> None:
    import pyarrow as pa

    from contrastive_app.judge.files import WRITERS, list_beside
    from contrastive_app.judge.lists import Longest

    longest = Longest(kind, number, settings)
    for table in unfinished.tables():
        longest.add(table)
    rows = longest.listed(responses)
    path = list_beside(unfinished.out, kind, chosen.lists_for)
    if not rows:
        console.print(f"no {path.name}: no response has votes on the judge's criteria")
        return
    if chosen.lists_for is None:
        unfinished.replace(path, lambda part: WRITERS[path.suffix]([pa.Table.from_pylist(rows)], part))
    else:
        TOOLS[chosen.lists_for](rows, path, settings["criteria"])
    console.print(f"listed: {len(rows):,} of {kind}, {path}")


def _finish(
    unfinished: Unfinished,
    settings: Mapping[str, Any],
    criteria: Sequence[str],
    annotators: "RichTable | None",
    console: "Console",
) -> None:
    """criteria: those that the votes are on."""
    from contrastive_app.judge.files import HIDDEN, WRITERS, shown
    from contrastive_app.judge.measured import measured

    out = unfinished.out
    names = [f"probability/{criterion}" for criterion in settings["criteria"]]
    found = measured(unfinished.tables([*HIDDEN, *names]), settings)
    unfinished.finish(lambda path: WRITERS[out.suffix](map(shown, unfinished.tables()), path))
    for table in found if annotators is None else [*found, annotators]:
        console.print(table)
    if criteria and not found:
        told = f"the votes are on {', '.join(criteria)}, the judge's criteria are {', '.join(settings['criteria'])}"
        console.print(f"not measured: {told}")
    console.print(f"scored: {unfinished.num_rows:,} responses, {out}")


def _rules(chosen: argparse.Namespace, settings: Mapping[str, Any]) -> "ReadingRules":
    from contrastive_learning.data.reading import ReadingRules

    return ReadingRules(chosen.format, chosen.yes_from, hash_annotators=False, criteria=settings["criteria"])


def _progress(console: "Console") -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn())
    bar = TextColumn("{task.description}"), BarColumn()
    return Progress(*bar, *columns, console=console, disable=not console.is_terminal)


def _about(chosen: argparse.Namespace, tables: "Mapping[str, Table]", folder: Path) -> dict[str, object]:
    """What the scores depend on."""
    from contrastive_learning.data.files import digest
    from contrastive_learning.data.tables import files_of

    files = {f"{name}/{file}": file for name, table in tables.items() for file in files_of(table)}
    reading = {"format": chosen.format, "yes_from": chosen.yes_from}
    of_judge = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    return {
        "FILE": digest(files, reading),
        "judge": digest(of_judge, {}),
        "--neighbours": chosen.neighbours,
        "number of rows per part": ROWS_PER_PART,
    }


def _begin(unfinished: Unfinished, tables: "Mapping[str, Table]", rules: "ReadingRules", progress: "Progress") -> None:
    """Unless an interrupted command has done so, read and check every row, and count them."""
    from contrastive_learning.data.reading import Reader
    from contrastive_learning.data.tables import table_remarks

    if unfinished.num_rows is not None:
        progress.console.print(f"going on with what is in {unfinished.folder}")
        return
    reader = Reader(rules)
    read = progress.track(_responses(reader, tables), total=None, description="reading")
    unfinished.begin(sum(1 for _ in read))
    for remark in [*reader.remarks(), *(remark for table in tables.values() for remark in table_remarks(table))]:
        progress.console.print(remark)


def _responses(reader: "Reader", tables: "Mapping[str, Table]") -> "Iterator[RatedResponse]":
    for name, table in tables.items():
        yield from reader.each(name, table)


def _parts(responses: "Iterable[RatedResponse]") -> "Iterator[list[RatedResponse]]":
    waiting = iter(responses)
    while part := list(islice(waiting, ROWS_PER_PART)):
        yield part


def _pipe(chosen: argparse.Namespace) -> None:
    """Each part is written as soon as it is read and scored. There is nothing to go on with after an interruption."""
    from contrastive_app.judge.files import shown, write_lines
    from contrastive_app.judge.scores import Scorer
    from contrastive_learning.data.reading import Reader
    from contrastive_learning.data.tables import Piped

    if num_launched() > 1 or chosen.out is not None or _lists(chosen):
        told = "in one process, without --out, --ask-again and --label-errors"
        raise ValueError(f"{PIPE} reads standard input and writes standard output, {told}")
    with tempfile.TemporaryDirectory() as scratch:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        print(f"judge: {which}", file=sys.stderr)
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        scorer = Scorer(folder, chosen.neighbours)
        reader = Reader(_rules(chosen, settings))
        for part in _parts(_responses(reader, {"row": Piped("standard input", sys.stdin)})):
            write_lines(shown(scorer.table(part)), sys.stdout)
            sys.stdout.flush()
