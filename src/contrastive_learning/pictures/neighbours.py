"""Where each response lies on the map of one criterion, and which lie next to it in its space.

With both in a table, viewers such as Embedding Atlas show a whole split, and the neighbours of a chosen response,
without computing anything.
"""

from typing import NamedTuple

import numpy as np

from contrastive_learning.metrics.evaluation import Evaluation
from contrastive_learning.pictures.layout import lay_out, own_unit
from contrastive_learning.pictures.shown import FloatArray, IntArray

NUM_NEIGHBOURS = 10
MOST_ROWS = 20_000  # with more, all pairs would take minutes
CHUNK = 1024  # rows whose similarities to all others are held at once


class Neighbourhood(NamedTuple):
    points: FloatArray  # [responses, 2], of a PCA turned as in the maps: up = more yes votes
    neighbours: IntArray | None  # [responses, up to 10], rows of the nearest others, nearest first
    distances: FloatArray | None  # [responses, up to 10], 1 - cosine; both None for more than MOST_ROWS responses


def neighbourhood(evaluation: Evaluation, criterion: int) -> Neighbourhood:
    """For the criterion at this place of the criteria: in its own slice, or in the space that all share."""
    votes = evaluation.yes_votes.astype(np.int64), evaluation.num_votes.astype(np.int64)
    space = evaluation.embeddings
    if evaluation.projection != "shared":
        space = own_unit(space, criterion, votes[0].shape[1])
        votes = votes[0][:, [criterion]], votes[1][:, [criterion]]
    points = lay_out(space, *votes, "pca").points
    if len(points) > MOST_ROWS:
        return Neighbourhood(points, None, None)
    return Neighbourhood(points, *nearest(space, NUM_NEIGHBOURS))


def nearest(rows: FloatArray, count: int) -> tuple[IntArray, FloatArray]:
    """The `count` nearest other rows of each row [rows, dim] by cosine, and 1 - cosine: two arrays [rows, count].

    >>> found, distances = nearest(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0]]), 1)
    >>> found[:, 0].tolist(), distances[:, 0].round(3).tolist()
    ([2, 2, 0], [0.106, 0.553, 0.106])
    """
    count = min(count, len(rows) - 1)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found, distances = np.empty((len(rows), count), np.int64), np.empty((len(rows), count))
    for start in range(0, len(rows), CHUNK):
        similarity = unit[start : start + CHUNK] @ unit.T  # [chunk, rows]
        similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -np.inf  # not itself
        chosen = np.argpartition(-similarity, max(count - 1, 0), axis=1)[:, :count]
        values = np.take_along_axis(similarity, chosen, axis=1)
        order = np.lexsort((chosen, -values), axis=1)
        found[start : start + CHUNK] = np.take_along_axis(chosen, order, axis=1)
        distances[start : start + CHUNK] = 1 - np.take_along_axis(values, order, axis=1)
    return found, distances
