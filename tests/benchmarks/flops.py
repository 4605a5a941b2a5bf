"""What the products of a transformer cost, and how fast the machine at hand makes products at best."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SIZES = (256, 512, 1024, 2048, 8192)
SLOW_PRODUCT_SECONDS = 0.5


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int

    def flops(self, lengths: Sequence[int]) -> float:
        """Forward and backward of rows of so many tokens: projections, feed-forward, attention."""
        tokens = np.asarray(lengths, dtype=np.float64)
        return 3 * float((24 * self.hidden**2 * tokens + 4 * self.hidden * tokens**2).sum()) * self.layers


def ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP a second of the best large square product."""
    rates: list[float] = []
    for size in SIZES:
        if rates and 2 * size**3 / rates[-1] > SLOW_PRODUCT_SECONDS:  # a CPU is as fast at the sizes before
            break
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(4):
            started = time.perf_counter()
            (left @ right)[0, 0].item()  # waits for the device
            seconds.append(time.perf_counter() - started)
        rates.append(2 * size**3 / min(seconds))
    return max(rates)
