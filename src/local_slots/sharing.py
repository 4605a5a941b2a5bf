"""How many trials fit on a GPU, by the memory of the first one."""

import sys
from typing import Any, NamedTuple

MARGIN = 1.25  # of a trial's memory: others may have larger batches or longer texts than the first
CONTEXT_BYTES = 600 << 20  # what CUDA and its libraries take per process, which torch does not count
MOST_CLIENTS = 48  # of NVIDIA's multi-process service, per GPU


class GpuMemory(NamedTuple):
    """What one process found at its end, in bytes."""

    peak: int  # the most that torch had reserved
    available: int  # what torch had reserved at the end, and what was free then


def slots_that_fit(memory: GpuMemory, most: int) -> int:
    """How many trials such as the one that was measured fit on one GPU, at least 1 and at most `most`.

    >>> gib = 1 << 30
    >>> slots_that_fit(GpuMemory(peak=4 * gib, available=23 * gib), most=16)  # 23.6 GiB / (1.25 x 4 + .6 GiB)
    4
    """
    fitting = (memory.available + CONTEXT_BYTES) // (int(MARGIN * memory.peak) + CONTEXT_BYTES)
    return max(1, min(fitting, most, MOST_CLIENTS))


def measured() -> GpuMemory | None:
    """The memory of this process on its GPU; None if torch has not used one, or it has failed. Imports nothing."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        free, _ = torch.cuda.mem_get_info()
        return GpuMemory(torch.cuda.max_memory_reserved(), torch.cuda.memory_reserved() + free)
    except RuntimeError:  # after an error of CUDA, which the job has told
        return None
