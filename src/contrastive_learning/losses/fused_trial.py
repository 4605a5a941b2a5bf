"""Whether the Triton kernels of `fused` take the place of torch's tiles: tried, not assumed.

The first large batch on a device decides for the process. The kernels are timed on SMALLEST_BATCH rows, compared with
torch in float64 on a few hundred, and used if they are right and faster than torch's tiles.
"""

import logging
import math
from collections.abc import Callable
from functools import cache, partial
from subprocess import SubprocessError

import torch
import torch.nn.functional as F
from torch import Tensor

from contrastive_learning.losses.tiles import BLOCK_SIZE_ON_GPU, PairSums, TorchSums

logger = logging.getLogger(__name__)

SMALLEST_BATCH = 8192  # below, torch's few tiles take hardly any time
LARGEST_BATCH = 2**20  # above, the kernels' indices would need 64 bits
COMPARED_ROWS = 300  # no multiple of a block
TOLERANCE = 2e-5  # of the norm; rounding to float32 makes 1e-6
TEMPERATURE = 0.1
PROGRAMS_PER_MULTIPROCESSOR = 4
# rows, columns, dims, warps, stages of both kernels: of the pairs that the device has room for, the fastest is taken.
# Four warps per 64 rows: with eight, each half of them would compute what the other does.
BLOCKS = (
    ((128, 128, 64, 8, 2), (128, 64, 64, 8, 2)),
    ((128, 64, 64, 8, 3), (128, 64, 64, 8, 2)),
    ((64, 64, 64, 4, 2), (64, 64, 64, 4, 2)),
)
Way = Callable[[Tensor, Tensor | None, float], PairSums]  # from z, groups and the temperature


def fused_sums(z: Tensor, groups: Tensor | None, temperature: float, *, num_columns: int) -> PairSums | None:
    """For z [batch, dim] and so many columns of V; None if torch's tiles are to be used."""
    if not z.is_cuda or z.dtype != torch.float32 or not SMALLEST_BATCH <= len(z) <= LARGEST_BATCH:
        return None
    if torch.cuda.is_current_stream_capturing():  # nothing can be timed now
        return None
    make = _tried(z.device, _in_sixteens(z.shape[1]), _in_sixteens(num_columns))
    return None if make is None else make(z, groups, temperature)


def _in_sixteens(width: int) -> int:
    """As many widths share one trial; the kernels pad them anyway."""
    return -(-width // 16) * 16


@cache
def _tried(device: torch.device, dim: int, num_columns: int) -> Way | None:
    """What makes `FusedSums` with the best blocks; None, and a line in the log, if torch's tiles are to be used."""
    found = _trial(device, dim, num_columns)
    if isinstance(found, str):
        logger.info("the contrastive loss is computed in torch's tiles, without the fused kernels: %s", found)
        return None
    return found


def _trial(device: torch.device, dim: int, num_columns: int) -> Way | str:
    """As `_tried`, or why not."""
    if torch.version.cuda is None or torch.cuda.get_device_capability(device) < (8, 0):
        return "they need an NVIDIA GPU of compute capability 8.0"
    try:
        from triton import TritonError

        ways = candidates(device)
    except ImportError as error:
        return str(error)
    large = inputs(SMALLEST_BATCH, dim, num_columns, device)
    timed, failures = [], []
    for way in ways:
        try:
            timed.append((milliseconds(way, *large), way))
        except (RuntimeError, ValueError, OSError, SubprocessError, TritonError) as error:
            failures.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
    if not timed:
        return failures[0]
    own, fastest = min(timed, key=lambda each: each[0])
    torchs = milliseconds(partial(TorchSums, block_size=BLOCK_SIZE_ON_GPU), *large)
    distance = _distance(fastest, *inputs(COMPARED_ROWS, dim, num_columns, device))
    if not distance < TOLERANCE:
        return f"they differ from torch's by {distance:.1g}"
    if own > torchs:
        return f"they take {own:.1f} ms for {SMALLEST_BATCH:,} rows, torch {torchs:.1f} ms"
    return fastest


def candidates(device: torch.device) -> list[Way]:
    """The kernels with each of BLOCKS. Raises ImportError without triton."""
    from contrastive_learning.losses.fused import Blocks, FusedSums

    programs = PROGRAMS_PER_MULTIPROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count
    return [
        partial(FusedSums, for_sums=Blocks(*for_sums), for_gradient=Blocks(*for_gradient), programs=programs)
        for for_sums, for_gradient in BLOCKS
    ]


def milliseconds(way: Way, z: Tensor, groups: Tensor | None, columns: Tensor, pulls: Tensor, repeats: int = 3) -> float:
    """Of the sums and their gradient on the GPU: the fastest of some repeats, after one that loads the kernels."""
    found = []
    with torch.cuda.device(z.device):
        for _ in range(1 + repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            _both(way, z, groups, columns, pulls)
            end.record()
            end.synchronize()
            found.append(float(start.elapsed_time(end)))
    return min(found[1:])


def _distance(way: Way, z: Tensor, groups: Tensor | None, columns: Tensor, pulls: Tensor) -> float:
    """From the values in float64, as a share of their norm, of sums or gradient, whichever is larger."""
    found = _both(way, z, groups, columns, pulls)
    tiles = partial(TorchSums, block_size=BLOCK_SIZE_ON_GPU)
    expected = _both(tiles, z.double(), groups, columns.double(), pulls.double())
    shares = [((one - two).norm() / two.norm()).item() for one, two in zip(found, expected, strict=True)]
    return max(shares) if all(map(math.isfinite, shares)) else math.inf


def _both(way: Way, z: Tensor, groups: Tensor | None, columns: Tensor, pulls: Tensor) -> tuple[Tensor, Tensor]:
    sums = way(z, groups, TEMPERATURE)
    return sums.exp_sums(columns), sums.gradient(pulls, columns)


def inputs(num_rows: int, dim: int, num_columns: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """z, groups of two rows, V and R: like random ones, but the random state is that of training."""
    wide = dim + 2 * num_columns
    waves = torch.sin(torch.arange(num_rows * wide, dtype=torch.float64) ** 2 * 0.7).view(num_rows, wide)
    z, columns, pulls = torch.split(waves.float().to(device), [dim, num_columns, num_columns], dim=1)
    return F.normalize(z), torch.arange(num_rows, device=device) // 2, columns.abs(), pulls
