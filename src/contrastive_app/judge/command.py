"""Judges the responses of a file with a trained judge. Votes are not needed; if there are some, it is measured."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contrastive_app.command_help import ShowVersion
from contrastive_app.interrupts import close_first
from contrastive_app.judge.annotation_tools import TOOLS
from contrastive_app.judge.export import export
from contrastive_app.judge.models import FORMS, find_judge, recorded_test_of, settings_of
from contrastive_app.launched import FOLLOWER_WAIT_SECONDS, is_follower, num_launched, wait_to_be_stopped
from contrastive_app.places import command
from contrastive_app.secrets import redact_output

if TYPE_CHECKING:
    from contrastive_learning.data.reading import ReadingRules
    from contrastive_learning.data.responses import RatedResponse
    from contrastive_learning.data.tables import Table

PIPE = "-"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exits with 130 after Ctrl-C, 143 after SIGTERM, 1 after an error, which takes one line."""
    # before torch is loaded: OpenMP threads that spin while they wait take the cores from other runs on this machine
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    redact_output()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        close_first()
        if given[:1] == ["export"]:
            export(given[1:])
        else:
            _judge(given)
    except ValueError as error:
        wait_to_be_stopped(error, FOLLOWER_WAIT_SECONDS)
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # who reads the scores has enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt as interrupt:
        if not is_follower():
            print("; ".join(["interrupted", *getattr(interrupt, "__notes__", [])]), file=sys.stderr)
        sys.exit(143 if "SIGTERM" in interrupt.args else 130)


def _judge(arguments: Sequence[str]) -> None:
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.compare:
        _comparison(chosen)
    elif chosen.file is None:
        parser.error("FILE is missing")
    elif chosen.file == PIPE:
        _pipe(chosen)
    else:
        try:
            _file(chosen)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("the same command continues where it stopped")
            raise


def _parser() -> argparse.ArgumentParser:
    also = f"{command('judge')} export --help: carry a judge away, to a hub or another runtime."
    parser = argparse.ArgumentParser(prog=command("judge"), description=__doc__, epilog=also)
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="responses in any form that data=votes reads; - reads JSON Lines and writes them",
    )
    parser.add_argument("--model", help=f"{FORMS}; by default the best run of the latest sweep, else the latest run")
    parser.add_argument("--store", help="MLflow's address or SQLite file; by default $MLFLOW_TRACKING_URI or mlflow.db")
    parser.add_argument("--out", type=Path, help="a .jsonl, .csv or .parquet file; by default beside FILE")
    parser.add_argument("--neighbours", type=int, default=0, metavar="K", help="give the K nearest training responses")
    told = "say where the decisions of two judges differ, and who is right; without FILE on A's recorded test responses"
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help=told)
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
    if chosen.lists_for and not _lists(chosen):
        raise ValueError("--lists-for needs a list: --ask-again N, --label-errors N, or both")
    for kind, number in _lists(chosen).items():
        if number < 1:
            raise ValueError(f"--{kind.replace('_', '-')} must be at least 1, got {number}")
    for path in (out, *(list_beside(out, kind, chosen.lists_for) for kind in _lists(chosen))):
        if path.exists() and not is_follower():
            raise ValueError(f"{path} exists already: remove it, or choose another --out")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"--out must be in a folder that exists, got {out}")
    console = Console(stderr=True, quiet=is_follower(), highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        console.print(f"judge: {which}")
        from contrastive_app.judge.whole_file import WholeFile

        whole = WholeFile(tables, _rules(chosen, folder), folder, chosen.neighbours, out, console)
        lists = _lists(chosen)
        if lists:
            whole.check_lists()
        whole.score()
        if not is_follower():
            for kind, number in lists.items():
                whole.write_list(kind, number, chosen.lists_for)
            whole.finish()


def _comparison(chosen: argparse.Namespace) -> None:
    from rich.console import Console

    from contrastive_app.judge.files import beside, check_suffix
    from contrastive_learning.data.files import existing
    from contrastive_learning.data.reading import Reader
    from contrastive_learning.data.tables import suffix_of

    if chosen.model or chosen.neighbours or _lists(chosen) or chosen.file == PIPE or num_launched() > 1:
        raise ValueError("--compare A B takes a FILE, --store, --out, --format and --yes-from, in one process")
    file = None if chosen.file is None else existing(chosen.file, "FILE")
    tables = None if file is None else _tables(file)
    ending = "" if file is None or file.is_dir() else suffix_of(file)
    out = chosen.out or (Path("compared.jsonl") if file is None else beside(file, ending, "compared"))
    check_suffix(out)
    if out.exists():
        raise ValueError(f"{out} exists already: remove it, or choose another --out")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [
            find_judge(model, chosen.store, Path(scratch, name))[0]
            for model, name in zip(chosen.compare, "ab", strict=True)
        ]
        own, other = (settings_of(folder)["criteria"] for folder in folders)
        criteria = [criterion for criterion in own if criterion in other]
        if not criteria:
            raise ValueError(f"--compare: the judges have no criterion in common: {', '.join(own)}; {', '.join(other)}")
        recorded = recorded_test_of(chosen.compare[0], chosen.store, Path(scratch)) if tables is None else None
        from contrastive_app.judge.compared import compare, print_tallies
        from contrastive_app.judge.recorded import recorded_responses
        from contrastive_app.judge.whole_file import progress_bar, responses_in

        def responses() -> "Iterator[RatedResponse]":
            if recorded is not None:
                return recorded_responses(recorded, own)
            assert tables is not None
            return responses_in(tables, Reader(_rules(chosen, folders[0])))

        with progress_bar(console) as progress:
            tallies = compare(folders, criteria, responses, out, progress)
    for name, model in zip("AB", chosen.compare, strict=True):
        console.print(f"{name}: {model}")
    print_tallies(tallies, console)
    console.print(f"compared: {sum(tally.differ for tally in tallies.values()):,} decisions differ, {out}")


def _tables(file: Path) -> "dict[str, Table]":
    """Name, which starts the ids of rows without id, -> table."""
    from contrastive_learning.data.folders import tables_in
    from contrastive_learning.data.tables import READABLE, READERS, suffix_of

    if file.is_dir():
        return tables_in(file)[0]
    if suffix_of(file) not in READERS:
        raise ValueError(f"FILE must end in {READABLE}; got {file}")
    return {"row": file}


def _lists(chosen: argparse.Namespace) -> dict[str, int]:
    """Kind -> number of rows, of the lists that are asked for."""
    asked = {"ask_again": chosen.ask_again, "label_errors": chosen.label_errors}
    return {kind: number for kind, number in asked.items() if number is not None}


def _rules(chosen: argparse.Namespace, folder: Path) -> "ReadingRules":
    from contrastive_learning.data.reading import ReadingRules

    criteria = settings_of(folder)["criteria"]
    return ReadingRules(chosen.format, chosen.yes_from, hash_annotators=False, criteria=criteria)


def _pipe(chosen: argparse.Namespace) -> None:
    """Each part is written as soon as it is read and scored. An interrupted command begins again."""
    from contrastive_app.judge.files import shown, write_lines
    from contrastive_app.judge.scores import Scorer
    from contrastive_app.judge.unfinished import parts
    from contrastive_learning.data.reading import Reader
    from contrastive_learning.data.tables import Piped

    if num_launched() > 1 or chosen.out is not None or _lists(chosen):
        told = "in one process, without --out, --ask-again and --label-errors"
        raise ValueError(f"{PIPE} reads standard input and writes standard output, {told}")
    with tempfile.TemporaryDirectory() as scratch:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        print(f"judge: {which}", file=sys.stderr)
        scorer = Scorer(folder, chosen.neighbours)
        responses = Reader(_rules(chosen, folder)).each("row", Piped("standard input", sys.stdin))
        for part in parts(responses):
            write_lines(shown(scorer.table(part)), sys.stdout)
            sys.stdout.flush()
