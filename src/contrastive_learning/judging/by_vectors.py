# SPDX-License-Identifier: Apache-2.0
"""Judges by vectors: the probability of yes from judged responses that lie near, without a classification head.

An exported judge carries a copy of this one file and runs it without this package, so it imports nothing of it. Both
classes compare vectors by cosine, after `Space` has centred them and scaled the part of each criterion to unit norm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

FloatArray = NDArray[np.floating[Any]]
EXACT_ROWS = 100_000  # up to so many training responses all are compared, beyond that an index is searched
QUERIES = 32  # compared at a time, so that the similarities to EXACT_ROWS rows take 13 MB
BLOCK = 64  # rows, of which only the largest similarity is sorted at first
UNKNOWN = 0.5  # the probability where no training response tells anything


class Space(NamedTuple):
    """How vectors [responses, dim] are compared."""

    centre: FloatArray  # [dim], subtracted from each vector
    parts: tuple[tuple[int, int], ...]  # (start, end) of the numbers that count, per criterion

    @classmethod
    def of(
        cls, vectors: FloatArray, num_criteria: int, centre: FloatArray | None, parts: Sequence[slice] | None
    ) -> Self:
        dim = vectors.shape[1]
        whole = [slice(0, dim)] * num_criteria
        bounds = tuple((part.start, part.stop) for part in (whole if parts is None else parts))
        if len(bounds) != num_criteria:
            raise ValueError(f"parts must be one per criterion, got {len(bounds)} for {num_criteria} criteria")
        return cls(np.zeros(dim, vectors.dtype) if centre is None else np.asarray(centre, vectors.dtype), bounds)

    def units(self, vectors: FloatArray) -> dict[tuple[int, int], Tensor]:
        """Part -> centred vectors of unit norm [responses, length of the part], each distinct part once."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.centre):
            raise ValueError(f"vectors must be [responses, {len(self.centre)}], got shape {vectors.shape}")
        centred = torch.from_numpy(np.ascontiguousarray(vectors - self.centre))
        return {
            part: torch.nn.functional.normalize(centred[:, part[0] : part[1]], dim=1, eps=1e-8)
            for part in dict.fromkeys(self.parts)
        }


class Reasons(NamedTuple):
    """The judged responses that a criterion's probabilities rest on, nearest first; each array [responses, k]."""

    rows: NDArray[np.int64]  # of the training responses
    similarity: FloatArray  # cosine
    weight: FloatArray  # >= 0, sum 1; 0 for what is listed only because fewer than k were judged


@dataclass(frozen=True)
class Neighbours:
    """The votes of the k nearest judged responses by cosine, with weights softmax(cosine / temperature).

    Responses without votes on a criterion are no neighbours for it. As kNN-BERT (Li et al. 2021) and kNN-LM
    (Khandelwal et al. 2020) do, it is meant to be mixed with a classification head.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.judging import Neighbours
        >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> yes_votes, num_votes = np.array([[3], [2], [0]]), np.full((3, 1), 3)
        >>> neighbours = Neighbours.fit(vectors, yes_votes, num_votes, k=2, temperature=0.1)
        >>> neighbours.probabilities(np.array([[1.0, 0.0], [0.0, 2.0]])).round(3).tolist()
        [[0.96], [0.012]]
        >>> neighbours.reasons(np.array([[0.0, 2.0]]))[0].rows.tolist()  # of the first criterion
        [[2, 1]]
    """

    space: Space
    vectors: FloatArray  # [training responses, dim], as they were given
    yes_votes: FloatArray  # [training responses, criteria]
    num_votes: FloatArray
    k: int
    temperature: float

    @classmethod
    def fit(
        cls,
        vectors: FloatArray,
        yes_votes: FloatArray,
        num_votes: FloatArray,
        *,
        k: int,
        temperature: float,
        centre: FloatArray | None = None,
        parts: Sequence[slice] | None = None,
    ) -> Self:
        """vectors: [responses, dim] of the training responses; votes: [responses, criteria], 0 of 0 = not judged.

        centre: [dim], what is subtracted from every vector, for features their mean; None: nothing. parts: the slice of
        the vector that belongs to each criterion, see `own_slices`; None: all of it, for each. float64 stays float64,
        all else is compared as float32. Raises ValueError for other shapes, and if more than EXACT_ROWS responses need
        the extra `index`.
        """
        vectors = _floats(vectors, yes_votes, num_votes)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        _check_temperature(temperature)
        check_size(len(vectors))
        space = Space.of(vectors, np.shape(yes_votes)[1], centre, parts)
        return cls(space, vectors, np.asarray(yes_votes), np.asarray(num_votes), k, temperature)

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Of yes [responses, criteria], for vectors [responses, dim]; 0.5 for a criterion that nobody judged."""
        return np.stack([self._share(index, found) for index, found in enumerate(self.reasons(vectors))], axis=1)

    def reasons(self, vectors: FloatArray) -> list[Reasons]:
        """Per criterion the neighbours of each of the vectors [responses, dim]."""
        queries = self.space.units(np.asarray(vectors, self.vectors.dtype))
        # most criteria have votes on the same responses and, in a shared space, the same neighbours
        found = {(part, group): self._search(queries[part], part, group) for part, group in dict.fromkeys(self._sought)}
        return [found[sought] for sought in self._sought]

    def save(self, folder: Path) -> None:
        """Write what `load` reads to the folder."""
        votes = {"yes_votes": self.yes_votes, "num_votes": self.num_votes}
        settings = {"k": np.array(self.k), "temperature": np.array(self.temperature)}
        _save(folder, self.space, {"vectors": self.vectors, **votes, **settings})

    @classmethod
    def load(cls, folder: Path) -> Self:
        space, saved = _load(folder)
        votes = saved["yes_votes"], saved["num_votes"]
        return cls(space, saved["vectors"], *votes, saved["k"].item(), saved["temperature"].item())

    @cached_property
    def _groups(self) -> dict[bytes, NDArray[np.bool_]]:
        """The distinct columns [training responses] of who is judged on a criterion, in the order of the criteria."""
        return {column.tobytes(): column for column in (self.num_votes > 0).T}

    @cached_property
    def _sought(self) -> list[tuple[tuple[int, int], int]]:
        """Per criterion its part of the vector and its group."""
        numbers = {key: number for number, key in enumerate(self._groups)}
        groups = [numbers[column.tobytes()] for column in (self.num_votes > 0).T]
        return list(zip(self.space.parts, groups, strict=True))

    @cached_property
    def _members(self) -> list[NDArray[np.int64]]:
        """Per group the training responses in it."""
        return [np.flatnonzero(judged) for judged in self._groups.values()]

    @cached_property
    def _ignored(self) -> list[Tensor]:
        """Per group the rows of `_rows` that are not in it."""
        size = len(self.vectors) + -len(self.vectors) % BLOCK
        return [torch.from_numpy(np.setdiff1d(np.arange(size), members)) for members in self._members]

    @cached_property
    def _shares(self) -> FloatArray:
        return (self.yes_votes / np.maximum(self.num_votes, 1)).astype(self.vectors.dtype)

    @cached_property
    def _rows(self) -> dict[tuple[int, int], Tensor]:
        """Part -> unit vectors of the training responses, filled up with zeros to whole blocks."""
        missing = -len(self.vectors) % BLOCK
        units = self.space.units(self.vectors)
        return {part: torch.nn.functional.pad(rows, (0, 0, 0, missing)) for part, rows in units.items()}

    @cached_property
    def _indexes(self) -> dict[tuple[tuple[int, int], int], Any]:
        return {}

    def _search(self, queries: Tensor, part: tuple[int, int], group: int) -> Reasons:
        k = min(self.k, len(self._members[group]))
        if k == 0:
            nothing = np.zeros((len(queries), 0))
            return Reasons(nothing.astype(np.int64), nothing, nothing)
        if len(self.vectors) <= EXACT_ROWS:
            similarity, rows = nearest(queries, self._rows[part], self._ignored[group], k)
        else:
            similarity, rows = self._search_index(queries, part, group, k)
        weight = torch.softmax(similarity / self.temperature, dim=1)
        return Reasons(rows.numpy(), similarity.numpy(), weight.numpy())

    def _search_index(self, queries: Tensor, part: tuple[int, int], group: int, k: int) -> tuple[Tensor, Tensor]:
        members = self._members[group]
        if (part, group) not in self._indexes:
            self._indexes[part, group] = _index(self._rows[part][members].float().numpy())
        similarity, positions = self._indexes[part, group].search(queries.float().numpy(), k)
        # where its cells hold fewer than k, the index says -1 with a similarity that makes the weight 0
        return torch.from_numpy(similarity), torch.from_numpy(members[positions])

    def _share(self, criterion: int, found: Reasons) -> FloatArray:
        if found.rows.shape[1] == 0:
            return np.full(len(found.rows), UNKNOWN)
        share: FloatArray = (found.weight * self._shares[found.rows, criterion]).sum(axis=1)
        return share.clip(0, 1)  # the weights sum to 1 up to rounding


@dataclass(frozen=True)
class Prototypes:
    """One vector per criterion and side, the mean of its training responses; p = sigmoid of the difference of the
    cosines to yes and no, divided by the temperature (Snell et al. 2017, with cosines).

    Sides are those of the majority of votes; a tie is on neither.

    Example:
        >>> import numpy as np
        >>> from contrastive_learning.judging import Prototypes
        >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> yes_votes, num_votes = np.array([[3], [2], [0]]), np.full((3, 1), 3)
        >>> prototypes = Prototypes.fit(vectors, yes_votes, num_votes, temperature=0.5)
        >>> prototypes.probabilities(np.array([[1.0, 0.0], [0.0, 1.0]])).round(3).tolist()
        [[0.87], [0.203]]
    """

    space: Space
    yes: tuple[FloatArray, ...]  # per criterion [length of its part], unit norm, or 0 if no response is on that side
    no: tuple[FloatArray, ...]
    temperature: float

    @classmethod
    def fit(
        cls,
        vectors: FloatArray,
        yes_votes: FloatArray,
        num_votes: FloatArray,
        *,
        temperature: float,
        centre: FloatArray | None = None,
        parts: Sequence[slice] | None = None,
    ) -> Self:
        """The arguments are those of `Neighbours.fit`."""
        vectors = _floats(vectors, yes_votes, num_votes)
        _check_temperature(temperature)
        yes_count, count = np.asarray(yes_votes), np.asarray(num_votes)
        space = Space.of(vectors, count.shape[1], centre, parts)
        units = space.units(vectors)
        sides = [
            tuple(
                torch.nn.functional.normalize(units[part][torch.from_numpy(members)].sum(dim=0), dim=0).numpy()
                for part, members in zip(space.parts, side.T, strict=True)
            )
            for side in (2 * yes_count > count, 2 * yes_count < count)
        ]
        return cls(space, sides[0], sides[1], temperature)

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Of yes [responses, criteria], for vectors [responses, dim]; 0.5 for a criterion with one side only."""
        units = self.space.units(np.asarray(vectors, self.space.centre.dtype))
        columns = []
        for part, yes, no in zip(self.space.parts, self.yes, self.no, strict=True):
            towards_yes = units[part] @ torch.from_numpy(yes - no) / self.temperature
            known = bool(yes.any() and no.any())
            columns.append(torch.sigmoid(towards_yes) if known else torch.full_like(towards_yes, UNKNOWN))
        return torch.stack(columns, dim=1).numpy()

    def save(self, folder: Path) -> None:
        """Write what `load` reads to the folder."""
        sides = {"yes": np.concatenate(self.yes), "no": np.concatenate(self.no)}
        _save(folder, self.space, sides | {"temperature": np.array(self.temperature)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        space, saved = _load(folder)
        ends = np.cumsum([end - start for start, end in space.parts])[:-1]
        yes, no = (tuple(np.split(saved[side], ends)) for side in ("yes", "no"))
        return cls(space, yes, no, saved["temperature"].item())


def nearest(queries: Tensor, rows: Tensor, ignored: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of queries @ rows.T and the rows they belong to, each [queries, k], largest first.

    queries: [queries, dim]. rows: [rows, dim], whole blocks. ignored: the numbers of the rows that are left out; at
    least k are not.
    The result is exact: each of the k largest lies in one of the k blocks with the largest maxima, so only these are
    sorted, which takes a tenth of sorting all.
    """
    found = [_nearest(part, rows, ignored, k) for part in torch.split(queries, QUERIES)]
    similarity, indices = (torch.cat(column) for column in zip(*found, strict=True))
    return similarity, indices


def _nearest(queries: Tensor, rows: Tensor, ignored: Tensor, k: int) -> tuple[Tensor, Tensor]:
    similarity = queries @ rows.T  # [queries, rows]
    similarity.index_fill_(1, ignored, -torch.inf)
    blocks = similarity.view(len(queries), len(rows) // BLOCK, BLOCK)  # [queries, blocks, BLOCK]
    best = blocks.amax(dim=2).topk(min(k, blocks.shape[1]), dim=1).indices  # [queries, k]
    candidates = blocks.gather(1, best.unsqueeze(2).expand(-1, -1, BLOCK)).flatten(1)  # [queries, k * BLOCK]
    values, places = candidates.topk(k, dim=1)
    return values, best.gather(1, places // BLOCK) * BLOCK + places % BLOCK


def check_size(num_rows: int) -> None:
    """Raises ValueError if so many training responses need an index, and the extra that has one is not installed."""
    if num_rows > EXACT_ROWS:
        _faiss(num_rows)


def _faiss(num_rows: int) -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ValueError(
            f"neighbours among {num_rows} judged responses need an index, more than {EXACT_ROWS} are too slow to "
            "compare: pip install 'contrastive-quality[index]', or judge=prototypes"
        ) from error
    return faiss


def _index(rows: FloatArray) -> Any:
    """An inverted file: about sqrt(rows) cells, of which those next to a query are searched exactly."""
    faiss = _faiss(len(rows))
    cells = max(1, int(len(rows) ** 0.5))
    index = faiss.index_factory(rows.shape[1], f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    index.nprobe = max(1, cells // 16)
    return index


def _floats(vectors: FloatArray, yes_votes: FloatArray, num_votes: FloatArray) -> FloatArray:
    found = np.asarray(vectors)
    shape = np.shape(yes_votes)
    if found.ndim != 2 or len(shape) != 2 or shape != np.shape(num_votes) or shape[0] != len(found):
        raise ValueError(
            "vectors must be [responses, dim] and votes [responses, criteria], "
            f"got {found.shape}, {shape} and {np.shape(num_votes)}"
        )
    if not np.isfinite(found).all():
        raise ValueError("vectors must be finite")
    return found if found.dtype == np.float64 else found.astype(np.float32)


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")


FILE = "vectors.safetensors"


def _save(folder: Path, space: Space, arrays: dict[str, NDArray[Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    of_space = {"centre": space.centre, "parts": np.array(space.parts)}
    save_file({name: np.ascontiguousarray(array) for name, array in (of_space | arrays).items()}, folder / FILE)


def _load(folder: Path) -> tuple[Space, dict[str, NDArray[Any]]]:
    saved = load_file(folder / FILE)
    parts = tuple((int(start), int(end)) for start, end in saved["parts"])
    return Space(saved["centre"], parts), saved
