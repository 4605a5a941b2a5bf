"""The fused kernels compute what torch's tiles do: in Triton's interpreter, which needs no GPU, and on a GPU.

Run as a script, under TRITON_INTERPRET=1, it prints how far the kernels are from torch in float64 in each case.
"""

import json
import os
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from contrastive_learning.losses import GradedLoss, InstanceLoss, SupConLoss
from contrastive_learning.losses.fused_trial import BLOCKS, SMALLEST_BATCH, TOLERANCE, _distance, inputs
from contrastive_learning.losses.tiles import TorchSums
from support.gpu import NEEDS_CUDA

HAS_TRITON = find_spec("triton") is not None
NEEDS_TRITON = pytest.mark.skipif(not HAS_TRITON, reason="no triton here: pip install triton")
NEEDS_INTERPRETER = pytest.mark.skipif(
    not HAS_TRITON or Version(version("triton")) < Version("3.7"),
    reason="no triton of 3.7 or later here (earlier interpreters fail with numpy 2.4): pip install triton",
)
SMALL, WIDE = ((32, 16, 16, 4, 2), (16, 32, 16, 4, 2)), ((16, 16, 128, 4, 2), (16, 16, 128, 4, 2))
CASES = {  # rows, dim, columns of V, whether rows are in groups, blocks, programs
    "one column": (37, 20, 1, False, SMALL, 1),
    "many columns, in groups": (37, 20, 40, True, SMALL, 1),
    "shared out": (70, 5, 3, True, SMALL, 8),
    "whole blocks": (64, 32, 16, False, SMALL, 1),
    "two rows": (2, 8, 2, False, SMALL, 4),
    "more than a program holds": (20, 140, 70, False, WIDE, 1),
}


def distance(num_rows, dim, num_columns, grouped, blocks, programs, device="cpu"):
    """From torch in float64, of the values and of their gradient."""
    from contrastive_learning.losses.fused import Blocks, FusedSums

    z, groups, columns, pulls = inputs(num_rows, dim, num_columns, torch.device(device))
    for_sums, for_gradient = (Blocks(*sizes) for sizes in blocks)
    way = partial(FusedSums, for_sums=for_sums, for_gradient=for_gradient, programs=programs)
    return _distance(way, z, groups if grouped else None, columns, pulls)


@pytest.fixture(scope="module")
def interpreted():
    """The distance in each case. Triton must be told before it is loaded."""
    path = os.pathsep.join((str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path}
    out = subprocess.run([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return json.loads(out.stdout)


@NEEDS_INTERPRETER
@pytest.mark.parametrize("case", CASES)
def test_kernels_are_as_exact_as_float32(case, interpreted):
    assert interpreted[case] < 3e-6


def test_a_trial_takes_what_is_right_and_refuses_what_is_nearly_right():
    tiles = partial(TorchSums, block_size=64)
    batch = inputs(100, 24, 5, torch.device("cpu"))
    assert _distance(tiles, *batch) < TOLERANCE
    assert _distance(lambda z, groups, temperature: tiles(z, groups, 1.0001 * temperature), *batch) > TOLERANCE
    assert _distance(lambda z, groups, temperature: tiles(z * torch.nan, groups, temperature), *batch) > TOLERANCE


@NEEDS_CUDA
@NEEDS_TRITON
@pytest.mark.parametrize(("dim", "num_columns"), [(28, 3), (256, 19), (300, 70)])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_kernels_are_right_on_a_gpu(blocks, dim, num_columns):
    from triton import OutOfResources

    try:
        found = distance(1000, dim, num_columns, True, blocks, 64, "cuda")
    except OutOfResources as error:
        pytest.skip(f"this card is too small for these blocks: {error}")
    assert found < TOLERANCE


@NEEDS_CUDA
@pytest.mark.parametrize(
    "loss",
    [
        SupConLoss(temperature=0.1, denominator="negatives", projection="per_criterion", criterion_weights=None),
        GradedLoss(temperature=0.1, projection="shared", criterion_weights=None),
        InstanceLoss(temperature=0.1),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_large_batch_in_float32_is_that_in_float64(loss):
    """Float64 always goes through torch's tiles."""
    generator = torch.Generator().manual_seed(0)
    num = torch.full((SMALLEST_BATCH + 6, 3), 3.0)
    yes = torch.binomial(num, torch.full_like(num, 0.6), generator=generator)
    embeddings = torch.randn(len(num), 96, generator=generator)
    values, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        leaf, *votes = (column.to("cuda", dtype) for column in (embeddings, yes, num))
        value = loss(leaf.requires_grad_(), *votes)
        value.backward()
        values.append(value.double())
        gradients.append(leaf.grad.double())
    torch.testing.assert_close(values[0], values[1], rtol=2e-5, atol=0)
    assert (gradients[0] - gradients[1]).norm() < 5e-5 * gradients[1].norm()


if __name__ == "__main__":
    print(json.dumps({name: distance(*case) for name, case in CASES.items()}))
