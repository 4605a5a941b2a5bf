"""Draws embedding maps: one criterion large and all of them small, or one criterion in a grid of several runs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from contrastive_learning.pictures.colours import borderline, colours_of, drawing_order, legend
from contrastive_learning.pictures.fonts import families, fit, hangul_family, legible
from contrastive_learning.pictures.shown import FloatArray, IntArray

DPI = 100
WIDTH = 800  # pixels, like every size below
COLUMNS = 3
ASPECT = 1.5  # width to height of a map
STEPS = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)  # few, so that similar runs have the same scale
ALIGNMENT = "turned to match the votes: up = more yes votes, in every run"
INK, FAINT, FRAME = "#1a1a1a", "#5f5f5f", "#c8c8c8"
RIMS = to_rgba_array(["white", INK])  # as arrays, like all colours of points: names and tuples are read one by one


@dataclass(frozen=True)
class EmbeddingMap:
    """The points, votes and captions of one run at one epoch."""

    title: str  # temperature, lambda
    when: str  # the epoch
    subtitle: str  # the metric
    note: str  # how the points were computed
    points: FloatArray  # [responses, spaces, 2]: one space that all criteria share, or one per criterion
    yes_votes: IntArray  # [responses, criteria]
    num_votes: IntArray
    criteria: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the map as Parquet, for a later grid of several runs."""
        heads = {name: getattr(self, name) for name in ("title", "when", "subtitle", "note", "criteria")}
        columns = {name: getattr(self, name).tolist() for name in ("yes_votes", "num_votes")}
        columns["points"] = self.points.reshape(len(self.points), -1).tolist()  # x, y of each space
        metadata = {b"embedding_map": json.dumps(heads).encode()}
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)

    @classmethod
    def read(cls, path: Path) -> Self:
        table = pq.read_table(path)
        heads: dict[str, Any] = json.loads(table.schema.metadata[b"embedding_map"])
        columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        columns["points"] = columns["points"].reshape(len(table), -1, 2)
        return cls(**(heads | {"criteria": tuple(heads["criteria"])} | columns))

    @property
    def shared(self) -> bool:
        """Whether all criteria share one space."""
        return bool(self.points.shape[1] < len(self.criteria))

    def points_of(self, criterion: str) -> FloatArray:
        """The points [responses, 2] of the space that the criterion is drawn in."""
        points: FloatArray = self.points[:, 0 if self.shared else self.criteria.index(criterion)]
        return points

    @property
    def half_height(self) -> float:
        """A step of STEPS, so that a frame of this half height and ASPECT times this half width holds every point.

        1 for the slices of criteria, whose PCA always fits: one frame for all criteria, epochs and runs.
        """
        reach = max(float((np.abs(self.points) / (ASPECT, 1)).max()), 1e-6)
        if not self.shared and reach <= 1:
            return 1.0
        unit = 10.0 ** math.floor(math.log10(reach))
        return next(step for step in STEPS if step * unit >= reach) * unit


def draw_map(shown: EmbeddingMap, criterion: str) -> bytes:
    """A PNG of one criterion, only 500 pixels wide: one is drawn every epoch, and most of its time is encoding."""
    page = _Page(shown, height=700)
    page.head(criterion)
    page.large(criterion)
    page.foot(f"{shown.note}; {ALIGNMENT}")
    return page.png(width=500)


def draw_overview(shown: EmbeddingMap, criterion: str) -> bytes:
    """A PNG of one criterion, and all of them small below."""
    rows = math.ceil(len(shown.criteria) / COLUMNS)
    page = _Page(shown, height=706 + 204 * rows)
    page.head(criterion)
    page.large(criterion)
    for index, name in enumerate(shown.criteria):
        page.small(name, left=16 + 260 * (index % COLUMNS), top=672 + 204 * (index // COLUMNS))
    page.foot(f"{shown.note}; {ALIGNMENT}")
    return page.png()


def draw_all_criteria(shown: EmbeddingMap) -> bytes:
    """A PNG of every criterion, small; 500 pixels wide like `draw_map`, as one is drawn every epoch."""
    rows = math.ceil(len(shown.criteria) / COLUMNS)
    page = _Page(shown, height=172 + 204 * rows)
    page.head()
    page.all_small(top=82)
    page.legend(top=90 + 204 * rows)
    page.foot(f"{shown.note}; {ALIGNMENT}")
    return page.png(width=500)


class Panel(NamedTuple):
    """One run in a grid of several."""

    shown: EmbeddingMap
    note: str = ""  # figures that belong to the map
    is_faint: bool = False


def draw_grid(panels: Sequence[Panel | None], criterion: str, *, subtitle: str, columns: int = COLUMNS) -> bytes:
    """A PNG of one criterion in several runs on the same data, row by row; None leaves a place empty."""
    drawn = [panel for panel in panels if panel is not None]
    rows, width = math.ceil(len(panels) / columns), 20 + 260 * max(columns, COLUMNS)
    titles = [panel.shown.title for panel in drawn]
    page = _Page(drawn[0].shown, height=156 + 254 * rows, width=width, titles=titles)
    fit(page.text(16, 30, page.name(criterion), 24, weight="bold"), width - 32)
    fit(page.text(16, 60, subtitle, 18, FAINT), width - 32)
    page.legend(top=76)
    for index, panel in enumerate(panels):
        if panel is None:
            continue
        shown, note, is_faint = panel
        left, top = 16 + 260 * (index % columns), 120 + 254 * (index // columns)
        fit(page.text(left, top + 18, page.title(shown), 17, FAINT if is_faint else INK, weight="bold"), 249)
        fit(page.text(left, top + 40, f"{shown.subtitle}, {shown.when}", 15, FAINT), 249)
        fit(page.text(left, top + 60, note, 15, FAINT), 249)
        page.scatter(shown, criterion, (left, top + 68, 249, 166), size=8, alpha=0.3 if is_faint else 1.0)
    page.foot(f"{ALIGNMENT.capitalize()}; silhouettes are those of this criterion")
    return page.png(width=width)


class _Page:
    """A figure that is laid out in pixels from the top left."""

    def __init__(self, shown: EmbeddingMap, height: int, width: int = WIDTH, titles: Sequence[str] = ()) -> None:
        self.shown, self.height, self.width = shown, height, width
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self._hangul = hangul_family() if any("가" <= mark <= "힣" for mark in self._words(titles)) else None

    def head(self, criterion: str | None = None) -> None:
        fit(self.text(16, 34, f"{self.shown.title}   {self.shown.when}", 25, weight="bold"), 768)
        subtitle = legible(self.shown.subtitle, self.shown.subtitle.rpartition(" ")[2], self._hangul)
        self.text(16, 66, subtitle, 20)
        if criterion is not None:
            fit(self.text(16, 95, self.name(criterion), 20, FAINT), 768)

    def foot(self, note: str) -> None:
        fit(self.text(16, self.height - 12, note, 15, FAINT), 768)

    def large(self, criterion: str) -> None:
        self.scatter(self.shown, criterion, (16, 104, 768, 512), size=34)
        self.legend(top=622)

    def small(self, criterion: str, left: int, top: int) -> None:
        fit(self.text(left, top + 16, self.name(criterion), 17), 249)
        self.scatter(self.shown, criterion, (left, top + 24, 249, 166), size=7)

    def all_small(self, top: int) -> None:
        """Every criterion as `small` shows it, in half the time: points of one pair of axes, whose units are pixels."""
        shown, half = self.shown, self.shown.half_height * 1.06
        width, height = 249, 166
        rows = math.ceil(len(shown.criteria) / COLUMNS)
        axes = self._axes((0, top, self.width, 204 * rows))
        axes.set(xlim=(0, self.width), ylim=(204 * rows, 0))
        axes.axis("off")
        places, colours, rims = [], [], []
        for index, name in enumerate(shown.criteria):
            left, upper = 16 + 260 * (index % COLUMNS), 24 + 204 * (index // COLUMNS)
            fit(self.text(left, top + upper - 8, self.name(name), 17), width)
            axes.add_patch(Rectangle((left, upper), width, height, fill=False, edgecolor=FRAME))
            yes, num = shown.yes_votes[:, index], shown.num_votes[:, index]
            order = drawing_order(yes, num)
            share = shown.points_of(name)[order] / (ASPECT * half, -half)  # of half the width, height; down is positive
            places.append((left, upper) + (share + 1) / 2 * (width, height))
            colours.append(colours_of(yes[order], num[order]))
            rims.append(RIMS[borderline(yes[order], num[order]).astype(int)])
        x, y = np.concatenate(places).T
        edges: Any = np.concatenate(rims)  # matplotlib's types leave out arrays
        axes.scatter(x, y, s=7, c=np.concatenate(colours), linewidths=7**0.5 / 8, edgecolors=edges)

    def scatter(
        self,
        shown: EmbeddingMap,
        criterion: str,
        box: tuple[float, float, float, float],
        *,
        size: float,
        alpha: float = 1.0,
    ) -> None:
        """box: left, top, width, height."""
        axes = self._axes(box)
        half = shown.half_height * 1.06
        axes.set(xlim=(-ASPECT * half, ASPECT * half), ylim=(-half, half))
        column = shown.criteria.index(criterion)
        yes, num = shown.yes_votes[:, column], shown.num_votes[:, column]
        order = drawing_order(yes, num)
        colours = colours_of(yes[order], num[order])
        x, y = shown.points_of(criterion)[order].T
        rims = RIMS[borderline(yes[order], num[order]).astype(int)]
        axes.scatter(x, y, s=size, c=colours, alpha=alpha, linewidths=size**0.5 / 8, edgecolors=rims)
        _scale_bar(axes, half / 4)

    def legend(self, top: int) -> None:
        entries = legend(self.shown.num_votes)
        self.text(16, top + 22, "votes for yes:" if " of " in entries[0].label else "share of yes:", 18)
        axes = self._axes((160, top, WIDTH - 176, 32))
        axes.set(xlim=(0, len(entries)), ylim=(0, 1))
        axes.axis("off")
        for index, entry in enumerate(entries):
            rim = INK if entry.borderline else "white"
            axes.scatter(index + 0.12, 0.5, s=120, c=[entry.colour], edgecolors=rim, linewidths=1.4)
            axes.text(index + 0.24, 0.5, entry.label, va="center", fontsize=18 * 72 / DPI, color=INK)

    def text(self, x: float, y: float, text: str, pixels: float, color: str = INK, weight: str = "normal") -> Text:
        return self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            fontsize=pixels * 72 / DPI,
            color=color,
            weight=weight,
            fontfamily=families([text], self._hangul),
        )

    def title(self, shown: EmbeddingMap) -> str:
        return legible(shown.title, shown.title.partition(" ")[0], self._hangul)

    def name(self, criterion: str) -> str:
        return legible(criterion, f"criterion {self.shown.criteria.index(criterion) + 1}", self._hangul)

    def png(self, width: int = WIDTH) -> bytes:
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI * width / self.width)
        return buffer.getvalue()

    def _axes(self, box: tuple[float, float, float, float]) -> Axes:
        left, top, width, height = box
        place = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(FRAME)
        return axes

    def _words(self, titles: Sequence[str]) -> str:
        return " ".join((*self.shown.criteria, self.shown.title, self.shown.subtitle, *titles))


def _scale_bar(axes: Axes, least: float) -> None:
    unit = 10.0 ** math.floor(math.log10(least))
    length = next(step for step in (1, 2, 5, 10) if step * unit >= least) * unit
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    end, height = right - 0.03 * (right - left), bottom + 0.04 * (top - bottom)
    axes.plot([end - length, end], [height, height], color=FAINT, linewidth=1.5)
    middle = end - length / 2
    axes.text(middle, height + 0.02 * (top - bottom), f"{length:g}", ha="center", va="bottom", fontsize=10, color=FAINT)
