"""Do the quick forms of a step train as the padded one in fp32 does? Losses over 200 steps, three seeds.

    python tests/benchmarks/loss_curves.py [--steps 200] [--seeds 3] [data=votes data.path=FILE model=minilm …]

All forms see the same batches of the same seed, from the same weights; the schedule ends after the last epoch. Compared
are means of 20 steps. "from padded": how far a form is from the padded fp32 run of its seed, the mean of the absolute
differences. "bias": the mean loss of the second half of the steps, less that of the padded fp32 runs, over all seeds.
The line above the table says both between two seeds of the padded fp32 run; a form trains alike if it exceeds neither.
Other overrides are those of `python -m src.train`.
"""

import argparse
import tempfile
from itertools import combinations
from math import ceil
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

from contrastive_app.parts import build_parts, build_trainer, load_data, training_set
from contrastive_app.places import CONF
from contrastive_learning.training import Hooks

FloatArray = NDArray[np.float64]

ON_GPU = torch.cuda.is_available()
WINDOW = 20  # steps
REFERENCE = "padded, fp32"
FORMS = {
    REFERENCE: ["trainer.precision=fp32", "trainer.padding_free=false"],
    "padded, bf16": ["trainer.precision=bf16", "trainer.padding_free=false"],
    "without padding, fp32": ["trainer.precision=fp32", "trainer.padding_free=true"],
    "without padding, bf16": ["trainer.precision=bf16", "trainer.padding_free=true"],
}
ON_GPU_ONLY = {
    "compiled, bf16": ["trainer.precision=bf16", "trainer.padding_free=false", "trainer.compile=true"],
    "CUDA graphs, bf16": ["trainer.precision=bf16", "trainer.padding_free=false", "trainer.compile=graphs"],
}


def losses(overrides: list[str], steps: int, folder: Path) -> FloatArray:
    """The total loss of each step [steps]."""
    options = ["tracking=none", f"data.cache_dir='{folder}/cache'", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", options)
        parts = build_parts(config)
        data = load_data(config, parts)
        per_epoch = len(training_set(config, parts, data).batches)
        config = compose("train", [*options, f"trainer.epochs={ceil(steps / per_epoch)}"])
    parts = build_parts(config)
    found: list[float] = []
    hooks = Hooks(on_step=lambda batch, batches, values: found.append(values["total_loss"]))
    trainer = build_trainer(config, parts, data, training_set(config, parts, data), folder, hooks)
    if trainer.padded_because is not None:
        print(f"padded: {trainer.padded_because}")
    while len(found) < steps:
        trainer.train_epoch()
    return np.array(found[:steps])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    forms = FORMS | (ON_GPU_ONLY if ON_GPU else {})
    curves: dict[str, FloatArray] = {}  # [seeds, steps]
    with tempfile.TemporaryDirectory() as folder:
        for name, own in forms.items():
            curves[name] = np.stack(
                [
                    losses([*arguments.overrides, *own, f"seed={seed}"], arguments.steps, Path(folder))
                    for seed in range(arguments.seeds)
                ]
            )
    windows = {name: _means(each, WINDOW) for name, each in curves.items()}  # [seeds, windows]
    halves = {name: each[:, arguments.steps // 2 :].mean(1) for name, each in curves.items()}  # [seeds]
    distance, bias = (_between_seeds(each[REFERENCE]) for each in (windows, halves))
    print(
        f"torch {torch.__version__}, {torch.cuda.get_device_name() if ON_GPU else 'CPU'}, {arguments.threads} threads"
    )
    print(f"{arguments.steps} steps, {arguments.seeds} seeds, {' '.join(arguments.overrides) or 'the default config'}")
    print(f"between seeds of {REFERENCE}: {distance:.4f}, second half {bias:.4f}\n")
    print(f"{'':<24}{'first':>8}{'last':>8}{'from padded':>13}{'bias':>10}  alike")
    for name, means in windows.items():
        own_distance = float(np.abs(means - windows[REFERENCE]).mean())
        own_bias = float((halves[name] - halves[REFERENCE]).mean())
        alike = own_distance <= distance and abs(own_bias) <= bias
        print(
            f"{name:<24}{means[:, 0].mean():>8.4f}{means[:, -1].mean():>8.4f}{own_distance:>13.4f}{own_bias:>+10.4f}"
            f"  {'yes' if alike else 'no'}"
        )


def _means(curves: FloatArray, steps: int) -> FloatArray:
    """Of so many steps each [seeds, windows]; what is left over at the end is left out."""
    whole = curves.shape[1] // steps
    means: FloatArray = curves[:, : whole * steps].reshape(len(curves), whole, steps).mean(2)
    return means


def _between_seeds(values: FloatArray) -> float:
    """The mean absolute difference of two seeds, [seeds, ...]."""
    return float(np.mean([np.abs(one - other) for one, other in combinations(values, 2)]))


if __name__ == "__main__":
    main()
