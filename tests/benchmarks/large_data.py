"""CPU seconds and memory of the way from files to the first batch, at the first start and later, and with two at once.

    python tests/benchmarks/large_data.py [FOLDER] [--dialogues 56000]

FOLDER holds what large_aihub.py wrote; without it, `--dialogues` are made anew. Each start is a process of its own.
Peak is the largest resident memory of the process, which counts the mapped cache as far as it was touched; private is
what it does not share.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from large_aihub import write_aihub

PHASES = ("import", "data", "sampler", "report", "batch")


def start(data: Path, cache: Path, overrides: list[str]) -> dict[str, float]:
    """What src.train does up to its first batch. Runs in a child."""
    started = time.perf_counter()
    marks = [time.process_time()]
    from hydra import compose, initialize_config_dir
    from torch.utils.data import DataLoader

    from contrastive_app.parts import build_parts, load_data
    from contrastive_app.places import CONF
    from contrastive_learning.tracking import MlflowTracking  # noqa: F401  what a run imports too
    from contrastive_learning.training.diagnostics import anchor_report

    marks.append(time.process_time())
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["data=aihub", f"data.path='{data}'", f"data.cache_dir='{cache}'", *overrides])
    parts = build_parts(config)
    tokenized = load_data(config, parts)
    train = tokenized.splits["train"]
    marks.append(time.process_time())
    batches = parts.make_sampler(train.examples())
    marks.append(time.process_time())
    anchor_report(parts.loss, batches, tokenized.criteria)
    marks.append(time.process_time())
    next(iter(DataLoader(train, batch_sampler=batches, collate_fn=train.collate)))
    marks.append(time.process_time())
    found = {phase: after - before for phase, before, after in zip(PHASES, marks[:-1], marks[1:], strict=True)}
    memory = psutil.Process().memory_full_info()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    wall = time.perf_counter() - started
    return {**found, "wall": wall, "rows": len(train), "peak": peak / 1e6, "private": memory.uss / 1e6}


def start_together(data: Path, cache: Path, overrides: list[str], count: int) -> list[dict[str, float]]:
    command = [sys.executable, __file__, str(data), "--child", str(cache), "--overrides", *overrides]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    outputs = [child.communicate()[0] for child in children]
    for child in children:
        if child.returncode:
            raise RuntimeError(f"a start ended with {child.returncode}")
    return [json.loads(output) for output in outputs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--dialogues", type=int, default=56_000)
    parser.add_argument("--overrides", nargs="*", default=[], help="as of src.train, such as model=hub model.name=…")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(start(arguments.folder, arguments.child, arguments.overrides)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data, cache = arguments.folder or Path(scratch, "data"), Path(scratch, "cache")
        if arguments.folder is None:
            write_aihub(data, arguments.dialogues)
        print(f"{'':<16}" + "".join(f"{phase:>9}" for phase in PHASES) + "  CPU s in all   wall s  peak MB  private MB")
        for name, count in (("first start", 1), ("second start", 1), ("two at once", 2)):
            for found in start_together(data, cache, arguments.overrides, count):
                phases = "".join(f"{found[phase]:>9.2f}" for phase in PHASES)
                total = sum(found[phase] for phase in PHASES)
                memory = f"{found['peak']:>9.0f}{found['private']:>12.0f}"
                print(f"{name:<16}{phases}{total:>14.1f}{found['wall']:>9.1f}{memory}", flush=True)
        print(f"{found['rows']:,} training responses")


if __name__ == "__main__":
    main()
