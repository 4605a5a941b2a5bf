"""Reliability curves: how often annotators say yes when the model gives yes the probability p."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from contrastive_learning.metrics import reliability
from contrastive_learning.pictures.fonts import families, fit, hangul_family, legible
from contrastive_learning.pictures.shown import FloatArray

COLUMNS = 3
STYLES = (("#174f8f", "o"), ("#b34700", "s"), ("#2a7f62", "^"), ("#7a4fa3", "D"))  # one per curve


class Predictions(NamedTuple):
    """The probabilities of one model on one split and the votes, each [responses, criteria]."""

    probabilities: FloatArray
    yes_votes: FloatArray
    num_votes: FloatArray

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the columns from a file that `write_embeddings` wrote."""
        table = pq.read_table(path, columns=list(cls._fields))
        return cls(*(np.array(table[name].to_pylist()) for name in cls._fields))


def draw_reliability(curves: Mapping[str, Predictions], criteria: Sequence[str]) -> bytes:
    """A PNG with one panel per criterion. curves: label -> predictions, at most four."""
    if not 1 <= len(curves) <= len(STYLES):
        raise ValueError(f"a reliability figure takes 1 to {len(STYLES)} curves, got {len(curves)}")
    columns = min(COLUMNS, len(criteria))
    rows = math.ceil(len(criteria) / columns)
    figure = Figure(figsize=(2.5 * columns + 0.5, 2.75 * rows + 0.5), dpi=100, facecolor="white", layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    hangul = hangul_family() if any("가" <= mark <= "힣" for mark in "".join((*criteria, *curves))) else None
    titles = []
    for index, axes in enumerate(panels):
        if index >= len(criteria):
            axes.set_axis_off()
            continue
        name = legible(criteria[index], f"criterion {index + 1}", hangul)
        titles.append(axes.set_title(name, fontsize=12, loc="left", fontfamily=families([name], hangul)))
        _draw_panel(axes, curves, index)
        axes.tick_params(labelbottom=index + columns >= len(criteria))  # nothing below
        for label, side in zip(axes.get_xticklabels(), ("left", "center", "right"), strict=False):
            label.set_horizontalalignment(side)  # apart from those of the next panel
    labels = [legible(label, f"run {index + 1}", hangul) for index, label in enumerate(curves)]
    handles = list(panels[0].get_lines()[1:])
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(len(curves), columns + 1), frameon=False, fontsize=12
    )
    figure.supxlabel("predicted probability of yes", fontsize=12)
    figure.supylabel("share of yes votes", fontsize=12)
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # only then do the panels have their widths
    for title in titles:
        assert title.axes is not None
        fit(title, title.axes.bbox.width)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_panel(axes: Axes, curves: Mapping[str, Predictions], criterion: int) -> None:
    axes.plot([0, 1], [0, 1], color="#9a9a9a", linewidth=1, linestyle="--")
    for (colour, marker), predictions in zip(STYLES, curves.values(), strict=False):
        probabilities, yes_votes, num_votes = (values[:, criterion] for values in predictions)
        curve = reliability(probabilities, yes_votes, num_votes)
        axes.plot(curve.mean_probability, curve.vote_share, color=colour, marker=marker, markersize=5, linewidth=1.6)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
    axes.tick_params(labelsize=11)
