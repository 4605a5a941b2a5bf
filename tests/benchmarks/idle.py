"""How long the device waits in a run: within the training steps, and between the epochs.

    python tests/benchmarks/idle.py [--trace trace.json] [--epochs 4] [OPTION=VALUE ...]
    python tests/benchmarks/idle.py model=klue_roberta_base sampler.batch_size=256                           # GPU

The options are those of `python -m src.train`; the run is a whole one, with record, maps and checkpoints, in a
temporary folder. torch.profiler says when the device is busy: a GPU with a kernel or a copy, a CPU with an operator of
torch. The epochs from the second to the last but one count, each with what comes between it and the next: evaluation,
metrics, record, map, checkpoint. The profiler slows the host and not the GPU, so a GPU idles less without it.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command does, before torch is loaded
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from contrastive_app.train import main as train
from contrastive_learning import ContrastiveTrainer

EPOCH = "benchmark: steps of an epoch"
Interval = tuple[float, float]  # start, end


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times in ascending intervals that do not touch.

    >>> union([(5, 6), (0, 2), (1, 3), (3, 4)])
    [(0, 4), (5, 6)]
    """
    merged: list[Interval] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def covered(windows: Sequence[Interval], busy: Iterable[Interval]) -> float:
    """How much of the windows, which do not overlap, is within an interval of `busy`.

    >>> covered([(0, 10), (20, 30)], [(8, 9), (8.5, 21), (40, 50)])
    3.0
    """
    merged = union(busy)
    return float(
        sum(max(0.0, min(end, until) - max(start, since)) for since, until in windows for start, end in merged)
    )


def between(windows: Sequence[Interval]) -> list[Interval]:
    """From the end of each window to the start of the next.

    >>> between([(0, 2), (3, 5), (7, 8)])
    [(2, 3), (5, 7)]
    """
    return [(earlier[1], later[0]) for earlier, later in pairwise(windows)]


def seconds_of(events: Iterable[Any], device: DeviceType) -> tuple[list[Interval], list[Interval]]:
    """When an epoch's steps ran, and when the device was busy, from the events of a profile."""
    epochs, busy = [], []
    for event in events:
        interval = (event.time_range.start / 1e6, event.time_range.end / 1e6)
        if event.name == EPOCH:
            if event.device_type == DeviceType.CPU:
                epochs.append(interval)
        elif event.device_type == device and not event.is_user_annotation:
            busy.append(interval)
    return sorted(epochs), busy


def print_idle(epochs: Sequence[Interval], busy: Sequence[Interval]) -> None:
    """Of the epochs from the second to the last but one, each with what follows it."""
    parts = {"steps": epochs[1:-1], "between epochs": between(epochs[1:])}
    for name, windows in (*parts.items(), ("together", [(epochs[1][0], epochs[-1][0])])):
        seconds = sum(end - start for start, end in windows)
        print(f"{name:<16}{seconds:8.3f} s, idle {1 - covered(windows, busy) / seconds:7.2%}")


def marked(train_epoch: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with a name in the profile."""

    def call(*arguments: Any, **options: Any) -> Any:
        with record_function(EPOCH):
            return train_epoch(*arguments, **options)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, help="also write the profile here, for chrome://tracing or Perfetto")
    parser.add_argument("--epochs", type=int, default=4)
    arguments, options = parser.parse_known_args()
    if arguments.epochs < 3:
        parser.error(f"--epochs must be at least 3, got {arguments.epochs}")
    on_gpu = torch.cuda.is_available() and "trainer.device=cpu" not in options
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    ContrastiveTrainer.train_epoch = marked(ContrastiveTrainer.train_epoch)
    with tempfile.TemporaryDirectory() as folder:
        places = [f"hydra.run.dir={folder}/run", f"tracking.uri=sqlite:///{folder}/mlflow.db"]
        sys.argv = [sys.argv[0], f"trainer.epochs={arguments.epochs}", *places, *options]
        with profile(activities=activities) as profiled:
            train()
    if arguments.trace is not None:
        profiled.export_chrome_trace(str(arguments.trace))
    device = DeviceType.CUDA if on_gpu else DeviceType.CPU
    print(f"{torch.cuda.get_device_name() if on_gpu else 'CPU'}, torch {torch.__version__}, {arguments.epochs} epochs")
    print_idle(*seconds_of(profiled.events(), device))


if __name__ == "__main__":
    main()
