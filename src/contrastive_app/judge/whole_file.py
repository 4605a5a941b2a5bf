"""Scores a file as a whole: read and checked, scored part by part, then written under its name."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from contrastive_app.judge.annotation_tools import TOOLS
from contrastive_app.judge.annotators import Agreement
from contrastive_app.judge.files import HIDDEN, WRITERS, list_beside, shown
from contrastive_app.judge.lists import Longest, check_listed
from contrastive_app.judge.measured import measured
from contrastive_app.judge.models import settings_of
from contrastive_app.judge.scores import Scorer
from contrastive_app.judge.unfinished import ROWS_PER_PART, Unfinished, parts
from contrastive_app.launched import is_follower, num_launched
from contrastive_learning.data.files import digest
from contrastive_learning.data.reading import Reader, ReadingRules
from contrastive_learning.data.responses import RatedResponse
from contrastive_learning.data.tables import Table, files_of, table_remarks
from contrastive_learning.runtime.devices import join_processes, leave_processes
from contrastive_learning.runtime.processes import broadcast_from_main


class WholeFile:
    """The responses of some tables, the judge in `folder`, and the file `out` that the scores go to.

    tables: name, which starts the ids of rows without id, -> table. Call `score`, then in the main process what is
    wanted of `write_list`, then `finish`.
    """

    def __init__(
        self,
        tables: Mapping[str, Table],
        rules: ReadingRules,
        folder: Path,
        neighbours: int,
        out: Path,
        console: Console,
    ) -> None:
        self._tables, self._rules, self._console = tables, rules, console
        self._settings = settings_of(folder)
        self._scorer = Scorer(folder, neighbours)
        files = {f"{name}/{file}": file for name, table in tables.items() for file in files_of(table)}
        of_judge = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
        about = {
            "FILE": digest(files, {"format": rules.format, "yes_from": rules.yes_from}),
            "judge": digest(of_judge, {}),
            "--neighbours": neighbours,
            "number of rows per part": ROWS_PER_PART,
        }
        self._unfinished = Unfinished(out, about)
        self._agreement = Agreement()
        self._voted: list[str] = []  # the criteria that the votes are on

    def check_lists(self) -> None:
        check_listed(self._settings)

    def score(self) -> None:
        """All parts that are not there yet, shared with the other processes. The main one waits for theirs."""
        unfinished = self._unfinished
        with progress_bar(self._console) as progress:
            if num_launched() > 1:
                join_processes("auto")
            if not is_follower():
                self._begin(progress)
                if self._scorer.remark is not None:
                    self._console.print(self._scorer.remark)
            unfinished.num_rows, missing = broadcast_from_main((unfinished.num_rows, unfinished.missing()))
            if num_launched() > 1:
                leave_processes()
            own = set(missing[int(os.environ.get("RANK", 0)) :: num_launched()])
            task = progress.add_task("judging", total=unfinished.num_rows)
            reader = Reader(self._rules)
            for number, part in enumerate(parts(self._agreement.watch(responses_in(self._tables, reader)))):
                if number in own:
                    unfinished.write(number, self._scorer.table(part))
                progress.update(task, advance=len(part))
        self._voted = reader.found
        if not is_follower():
            unfinished.wait()

    def write_list(self, kind: str, number: int, tool: str | None) -> None:
        """The first `number` cells of a list, a key of lists.ORDERS; tool: a key of TOOLS, None: as a table."""
        longest = Longest(kind, number, self._settings)
        for table in self._unfinished.tables():
            longest.add(table)
        rows = longest.listed(responses_in(self._tables, Reader(self._rules)))
        path = list_beside(self._unfinished.out, kind, tool)
        if not rows:
            self._console.print(f"no {path.name}: no response has votes on the judge's criteria")
            return
        if tool is None:
            self._unfinished.replace(path, lambda part: WRITERS[path.suffix]([pa.Table.from_pylist(rows)], part))
        else:
            TOOLS[tool](rows, path, self._settings["criteria"])
        self._console.print(f"listed: {len(rows):,} of {kind}, {path}")

    def finish(self) -> None:
        """Give the scores their name, and print how good they are."""
        unfinished, criteria = self._unfinished, self._settings["criteria"]
        names = [f"probability/{criterion}" for criterion in criteria]
        found = measured(unfinished.tables([*HIDDEN, *names]), self._settings)
        unfinished.finish(lambda path: WRITERS[unfinished.out.suffix](map(shown, unfinished.tables()), path))
        for table in [*found, *self._agreement.tables()]:
            self._console.print(table)
        if self._voted and not found:
            told = f"the votes are on {', '.join(self._voted)}, the judge's criteria are {', '.join(criteria)}"
            self._console.print(f"not measured: {told}")
        number = unfinished.num_rows
        self._console.print(f"scored: {number:,} response{'s' * (number != 1)}, {unfinished.out}")

    def _begin(self, progress: Progress) -> None:
        """Unless an interrupted command has done so, read and check every row, and count them."""
        if self._unfinished.num_rows is not None:
            self._console.print(f"going on with what is in {self._unfinished.folder}")
            return
        reader = Reader(self._rules)
        read = progress.track(responses_in(self._tables, reader), total=None, description="reading")
        self._unfinished.begin(sum(1 for _ in read))
        remarks = [remark for table in self._tables.values() for remark in table_remarks(table)]
        for remark in [*reader.remarks(), *remarks]:
            self._console.print(remark)


def responses_in(tables: Mapping[str, Table], reader: Reader) -> Iterator[RatedResponse]:
    for name, table in tables.items():
        yield from reader.each(name, table)


def progress_bar(console: Console) -> Progress:
    bar = TextColumn("{task.description}"), BarColumn()
    columns = MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn()
    return Progress(*bar, *columns, console=console, disable=not console.is_terminal)
