"""CPU seconds and memory of reading judgements in the long form, against as many rows of the plain form.

    python tests/benchmarks/long_form.py [--rows 500000]

Each form is written and read in a process of its own. Peak is the largest resident memory of the process that reads.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ANNOTATORS, CRITERIA = 3, 3  # of each response; the long form has a row for each pair


def response(index: int) -> dict[str, Any]:
    turns = [f"{index}번 질문입니다. 주말에 어디로 가면 좋을까요?", "바다는 어때요?", "거긴 너무 더워요."]
    return {"id": f"r{index}", "domain": f"d{index % 5}", "context": turns, "response": f"산은 시원해요. {index} " * 3}


def long_rows(count: int) -> Iterator[dict[str, Any]]:
    for row in range(count):
        index, pair = divmod(row, ANNOTATORS * CRITERIA)
        who, criterion = divmod(pair, CRITERIA)
        yield response(index) | {"annotator": f"kim{who}", "criterion": f"c{criterion}", "label": (index + pair) % 2}


def plain_rows(count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        votes = {
            f"c{criterion}": [(index + criterion + who) % 2 for who in range(ANNOTATORS)] for criterion in range(3)
        }
        yield response(index) | {"votes": votes}


def read(form: str, path: Path) -> dict[str, float]:
    """CPU seconds and megabytes. Runs in a child."""
    from contrastive_learning.data.reading import Reader, ReadingRules

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    start = time.process_time()
    responses = Reader(ReadingRules(format=form, yes_from=None, hash_annotators=False, criteria=None)).read(
        "train", path
    )
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"seconds": seconds, "peak": peak, "import": before, "responses": len(responses)}


def measure(rows: int, folder: Path) -> dict[str, dict[str, float]]:
    """Of each form: CPU seconds, peak in megabytes, responses."""
    found = {}
    for form, make in (("responses", plain_rows), ("judgements", long_rows)):
        path = folder / f"{form}.jsonl"
        with path.open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in make(rows))
        command = [sys.executable, __file__, "--child", form, str(path)]
        found[form] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(read(arguments.child[0], Path(arguments.child[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("form | CPU seconds | peak MB | MB before | responses")
        for form, found in measure(arguments.rows, Path(folder)).items():
            print(form, *(f"{value:,.1f}" for value in found.values()), sep=" | ")


if __name__ == "__main__":
    main()
