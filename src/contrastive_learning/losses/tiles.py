"""The sums over all pairs that a softmax denominator and its gradient need, tile by tile with torch's products.

With s_ik = z_i . z_k / temperature over the pairs that count, and columns V [batch, columns]:

    E = exp(S) V          gradient of sum(E R): W z / temperature with W_ik = exp(s_ik) (R_i . V_k + R_k . V_i)

S is symmetric, so only tiles on and above the diagonal are computed and each serves both of its sides.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

Tile = tuple[slice, slice, Tensor]  # rows, columns, [rows, columns]

BLOCK_SIZE = 1024  # a tile of 4 MB in float32 stays in a CPU's cache
BLOCK_SIZE_ON_GPU = 4096  # below, a tile's products take less time than their launch


class PairSums(Protocol):
    """Either way to the sums over pairs of one batch."""

    def exp_sums(self, columns: Tensor) -> Tensor:
        """E [batch, columns] of V [batch, columns]."""
        ...

    def gradient(self, pulls: Tensor, columns: Tensor) -> Tensor:
        """The gradient of z [batch, dim] for R / temperature and V, both [batch, columns]."""
        ...


class TorchSums:
    """Of the unit vectors z [batch, dim], float32 or float64. A batch of one tile keeps it for the gradient.

    groups: [batch], rows of one group do not count as a pair; None: each row is a group of its own.
    block_size: rows of a tile.

    Example:
        >>> import torch
        >>> sums = TorchSums(torch.eye(3), None, 1.0, block_size=2)
        >>> sums.exp_sums(torch.ones(3, 1))  # of the two others, exp(0) each
        tensor([[2.],
                [2.],
                [2.]])
    """

    def __init__(self, z: Tensor, groups: Tensor | None, temperature: float, *, block_size: int) -> None:
        self.z, self.groups, self.temperature, self.block_size = z, groups, temperature, block_size
        self._only_tile = list(self._make_tiles()) if len(z) <= block_size else None

    def exp_sums(self, columns: Tensor) -> Tensor:
        sums = torch.zeros_like(columns)
        for rows, cols, tile in self._tiles():
            sums[rows].addmm_(tile, columns[cols])  # [rows, columns]
            if rows != cols:
                sums[cols].addmm_(tile.T, columns[rows])
        return sums

    def gradient(self, pulls: Tensor, columns: Tensor) -> Tensor:
        left, right = torch.cat((pulls, columns), dim=1), torch.cat((columns, pulls), dim=1).T
        grad = torch.zeros_like(self.z)
        for rows, cols, tile in self._tiles():
            pull = (left[rows] @ right[:, cols]).mul_(tile)  # [rows, cols], W / temperature
            grad[rows].addmm_(pull, self.z[cols])
            if rows != cols:
                grad[cols].addmm_(pull.T, self.z[rows])
        return grad

    def _tiles(self) -> Iterator[Tile]:
        return self._make_tiles() if self._only_tile is None else iter(self._only_tile)

    def _make_tiles(self) -> Iterator[Tile]:
        """exp(S) of each block of rows and columns on or above the diagonal, 0 for the pairs that do not count."""
        z, groups = self.z, self.groups
        blocks = [slice(start, start + self.block_size) for start in range(0, len(z), self.block_size)]
        for index, rows in enumerate(blocks):
            scaled = z[rows] / self.temperature
            for cols in blocks[index:]:
                tile = (scaled @ z[cols].T).exp_()
                if groups is not None:
                    tile.masked_fill_(groups[rows, None] == groups[None, cols], 0.0)
                elif rows == cols:
                    tile.fill_diagonal_(0.0)
                yield rows, cols, tile
