"""What `TorchSums` computes, on CUDA in two Triton kernels that keep every number over pairs in registers.

A program holds a block of rows and visits the columns block by block, in a fixed order and without atomics, so that
results repeat to the bit. Three choices keep float32's precision at the speed of half precision:

- A row of z, scaled by 2^15, is the sum of two float16 rows, high + low: 22 bits. Three products of these (low by low
  is below the last bit) make one of S, and of W z with each row of W cut likewise. exp(S) and R have too wide a range
  for float16 and are cut into two tf32 numbers.
- Tensor cores cut off what does not fit an accumulator, which over ten thousands of positive terms is a bias of 1e-4.
  So they only sum within a block; the sum over blocks is an ordinary addition.
- Rows are padded with zeros to whole blocks. They have V = R = 0, so that nothing needs a mask.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

SCALE = tl.constexpr(2.0**15)  # float16 holds numbers up to 2^16
TF32_BITS = tl.constexpr(-8192)  # a mask: float32 but for the last 13 bits
# Columns of z, and of V or R, that a program holds without spilling registers. More are shared out among programs, each
# of which computes S anew.
LARGEST_DIM, LARGEST_WIDTH = 128, 64


@dataclass(frozen=True)
class Blocks:
    """Sizes of a kernel, powers of two: rows that a program holds, columns of S that it visits at once, dims of z that
    it multiplies at once; and how Triton runs it.
    """

    rows: int
    columns: int
    dims: int
    warps: int
    stages: int


class FusedSums:
    """As `TorchSums`, of float32 on CUDA.

    programs: how many the device should have at least; in small batches the columns of S are shared out, too.
    """

    def __init__(
        self,
        z: Tensor,
        groups: Tensor | None,
        temperature: float,
        *,
        for_sums: Blocks,
        for_gradient: Blocks,
        programs: int,
    ) -> None:
        self.batch_size, self.dim = z.shape
        self.for_sums, self.for_gradient, self.programs = for_sums, for_gradient, programs
        largest = max(side for blocks in (for_sums, for_gradient) for side in (blocks.rows, blocks.columns))
        self.num_rows = _up_to_whole(self.batch_size, largest)
        self.padded_dim = max(32, padded(self.dim, LARGEST_DIM))
        scaled = self._padded(z * SCALE.value, self.padded_dim)
        self.high = scaled.half()
        self.low = (scaled - self.high.float()).half()
        groups = torch.arange(self.batch_size, device=z.device) if groups is None else groups
        self.groups = F.pad(groups.int(), (0, self.num_rows - self.batch_size))  # [rows]
        self.to_exponent = math.log2(math.e) / temperature / SCALE.value**2  # of 2, from a product of scaled rows

    def exp_sums(self, columns: Tensor) -> Tensor:
        width, blocks = padded(columns.shape[1], LARGEST_WIDTH), self.for_sums
        part = min(width, LARGEST_WIDTH)
        splits, columns_per_split = self._shared_out(blocks, width // part)
        high, low = (each.T.contiguous() for each in _in_tf32(self._padded(columns, width)))  # [width, rows]
        found = high.new_empty(splits, self.num_rows, width)
        with torch.cuda.device_of(columns):  # type: ignore[no-untyped-call]
            _sums_kernel[self.num_rows // blocks.rows, splits, width // part](
                self.high,
                self.low,
                self.groups,
                high,
                low,
                found,
                self.to_exponent,
                self.num_rows,
                columns_per_split,
                width=width,
                part_size=part,
                **self._sizes(blocks),
            )
        return found.sum(0)[: self.batch_size, : columns.shape[1]]

    def gradient(self, pulls: Tensor, columns: Tensor) -> Tensor:
        width, blocks = padded(2 * columns.shape[1], LARGEST_WIDTH), self.for_gradient
        left, right = (self._padded(torch.cat(each, dim=1), width) for each in ((pulls, columns), (columns, pulls)))
        part = min(self.padded_dim, LARGEST_DIM)
        splits, columns_per_split = self._shared_out(blocks, self.padded_dim // part)
        found = left.new_empty(splits, self.num_rows, self.padded_dim)
        with torch.cuda.device_of(columns):  # type: ignore[no-untyped-call]
            _gradient_kernel[self.num_rows // blocks.rows, splits, self.padded_dim // part](
                self.high,
                self.low,
                self.groups,
                *_in_tf32(left),
                *_in_tf32(right),
                found,
                self.to_exponent,
                self.num_rows,
                columns_per_split,
                width=width,
                width_at_once=min(width, LARGEST_WIDTH),
                half_part=part // 2,
                **self._sizes(blocks),
            )
        return found.sum(0)[: self.batch_size, : self.dim]

    def _sizes(self, blocks: Blocks) -> dict[str, int]:
        """What both kernels take by name."""
        return {
            "dim": self.padded_dim,
            "dims_at_once": min(blocks.dims, self.padded_dim),
            "block_rows": blocks.rows,
            "block_columns": blocks.columns,
            "num_warps": blocks.warps,
            "num_stages": blocks.stages,
        }

    def _shared_out(self, blocks: Blocks, parts: int) -> tuple[int, int]:
        """Among how many programs the columns of S of one block of rows are shared out, and how many each visits."""
        wanted = -(-self.programs // (self.num_rows // blocks.rows * parts))
        columns = _up_to_whole(-(-self.num_rows // wanted), blocks.columns)
        return -(-self.num_rows // columns), columns

    def _padded(self, rows: Tensor, width: int) -> Tensor:
        return F.pad(rows, (0, width - rows.shape[1], 0, self.num_rows - self.batch_size)).contiguous()


def padded(width: int, largest: int) -> int:
    """The next power of two, at least 16; above `largest`, a power of two itself, the next multiple of it.

    Example:
        >>> [padded(width, 64) for width in (1, 16, 40, 130)]
        [16, 16, 64, 192]
    """
    return max(16, 1 << (width - 1).bit_length()) if width <= largest else _up_to_whole(width, largest)


def _up_to_whole(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _in_tf32(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Two numbers with few enough bits whose sum is the row, but for its last bit or two."""
    high = (rows.view(torch.int32) & TF32_BITS.value).view(torch.float32)
    return high, rows - high


@triton.jit
def _exponentials(
    high: tl.tensor,
    low: tl.tensor,
    groups: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    to_exponent: tl.tensor,
    dim: tl.constexpr,
    dims_at_once: tl.constexpr,
) -> tl.tensor:
    """exp(S) [rows, columns], 0 for the pairs that do not count."""
    scores = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32)
    for first in range(0, dim, dims_at_once):
        dims = first + tl.arange(0, dims_at_once)
        of_rows = rows[:, None] * dim + dims[None, :]
        of_columns = columns[:, None] * dim + dims[None, :]
        high_rows, low_rows = tl.load(high + of_rows), tl.load(low + of_rows)
        high_columns, low_columns = tl.load(high + of_columns), tl.load(low + of_columns)
        scores = tl.dot(low_rows, high_columns.T, scores)
        scores = tl.dot(high_rows, low_columns.T, scores)
        scores = tl.dot(high_rows, high_columns.T, scores)
    apart = tl.load(groups + rows)[:, None] != tl.load(groups + columns)[None, :]
    return tl.where(apart, tl.exp2(scores * to_exponent), 0.0)


@triton.jit
def _sums_kernel(
    high: tl.tensor,
    low: tl.tensor,
    groups: tl.tensor,
    high_values: tl.tensor,
    low_values: tl.tensor,
    sums: tl.tensor,
    to_exponent: tl.tensor,
    num_rows: tl.tensor,
    columns_per_split: tl.tensor,
    width: tl.constexpr,
    part_size: tl.constexpr,
    dim: tl.constexpr,
    dims_at_once: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
) -> None:
    """E of a block of rows and a part of V's columns, over one split of the columns of S."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    start = tl.program_id(1) * columns_per_split
    part = tl.program_id(2) * part_size + tl.arange(0, part_size)
    total = tl.zeros((block_rows, part_size), tl.float32)
    for first in range(start, tl.minimum(start + columns_per_split, num_rows), block_columns):
        columns = first + tl.arange(0, block_columns)
        tile = _exponentials(high, low, groups, rows, columns, to_exponent, dim, dims_at_once)
        high_tile = (tile.to(tl.int32, bitcast=True) & TF32_BITS).to(tl.float32, bitcast=True)
        places = part[:, None] * num_rows + columns[None, :]
        high_part, low_part = tl.load(high_values + places).T, tl.load(low_values + places).T
        found = tl.dot(tile - high_tile, high_part, input_precision="tf32")
        found = tl.dot(high_tile, low_part, found, input_precision="tf32")
        total += tl.dot(high_tile, high_part, found, input_precision="tf32")
    tl.store(sums + (tl.program_id(1) * num_rows + rows)[:, None] * width + part[None, :], total)


@triton.jit
def _gradient_kernel(
    high: tl.tensor,
    low: tl.tensor,
    groups: tl.tensor,
    high_left: tl.tensor,
    low_left: tl.tensor,
    high_right: tl.tensor,
    low_right: tl.tensor,
    gradient: tl.tensor,
    to_exponent: tl.tensor,
    num_rows: tl.tensor,
    columns_per_split: tl.tensor,
    width: tl.constexpr,
    width_at_once: tl.constexpr,
    half_part: tl.constexpr,
    dim: tl.constexpr,
    dims_at_once: tl.constexpr,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
) -> None:
    """W z of a block of rows and a part of z's columns, in two halves, over one split of the columns of S."""
    rows = tl.program_id(0) * block_rows + tl.arange(0, block_rows)
    start = tl.program_id(1) * columns_per_split
    part = tl.program_id(2) * 2 * half_part + tl.arange(0, half_part)
    first_half = tl.zeros((block_rows, half_part), tl.float32)
    second_half = tl.zeros((block_rows, half_part), tl.float32)
    for first in range(start, tl.minimum(start + columns_per_split, num_rows), block_columns):
        columns = first + tl.arange(0, block_columns)
        tile = _exponentials(high, low, groups, rows, columns, to_exponent, dim, dims_at_once)
        pull = tl.zeros((block_rows, block_columns), tl.float32)
        for each in range(0, width, width_at_once):
            wide = each + tl.arange(0, width_at_once)
            of_rows = rows[:, None] * width + wide[None, :]
            of_columns = columns[:, None] * width + wide[None, :]
            high_rows, low_rows = tl.load(high_left + of_rows), tl.load(low_left + of_rows)
            high_columns, low_columns = tl.load(high_right + of_columns).T, tl.load(low_right + of_columns).T
            pull = tl.dot(low_rows, high_columns, pull, input_precision="tf32")
            pull = tl.dot(high_rows, low_columns, pull, input_precision="tf32")
            pull = tl.dot(high_rows, high_columns, pull, input_precision="tf32")
        pull *= tile
        largest = tl.maximum(tl.max(tl.abs(pull), axis=1), 1e-30)[:, None]  # of each row: in units of it W fits float16
        pull *= SCALE / largest
        unit = largest / (SCALE * SCALE)
        high_pull = pull.to(tl.float16)
        low_pull = (pull - high_pull.to(tl.float32)).to(tl.float16)
        places = columns[:, None] * dim + part[None, :]
        first_half += unit * _product(high_pull, low_pull, high + places, low + places)
        second_half += unit * _product(high_pull, low_pull, high + places + half_part, low + places + half_part)
    places = (tl.program_id(1) * num_rows + rows)[:, None] * dim + part[None, :]
    tl.store(gradient + places, first_half)
    tl.store(gradient + places + half_part, second_half)


@triton.jit
def _product(high_pull: tl.tensor, low_pull: tl.tensor, high: tl.tensor, low: tl.tensor) -> tl.tensor:
    high_values, low_values = tl.load(high), tl.load(low)
    found = tl.dot(low_pull, high_values)
    found = tl.dot(high_pull, low_values, found)
    return tl.dot(high_pull, high_values, found)
