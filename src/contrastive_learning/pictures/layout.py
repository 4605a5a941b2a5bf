"""Embeddings in the plane, turned so that the pictures of all runs on the same data can be laid side by side.

A PCA (or t-SNE, UMAP) can come out mirrored or turned: with another seed, the same clusters would be elsewhere. So
each layout is turned and mirrored, never bent, by orthogonal Procrustes (Schoenemann 1966) onto a layout of the votes,
which depends only on the data: in every picture up is more yes votes, and responses that fail on the same criteria are
on the same side. Every epoch of every run is turned onto the same layout, so epochs agree as well. Scale is kept: in a
PCA of unit embeddings, a small cloud means that little of the embedding space is used.
"""

import math
from typing import NamedTuple

import numpy as np

from contrastive_learning.choices import check_choice
from contrastive_learning.pictures.shown import FloatArray, IntArray, vote_shares
from contrastive_learning.projections import own_slices

PROJECTIONS = ("pca", "tsne", "umap")
SPREAD = 0.5  # root mean square radius of t-SNE and UMAP, whose own scale has no meaning


class Layout(NamedTuple):
    points: FloatArray  # [responses, 2], the middle of their range is at (0, 0)
    method: str  # PCA, t-SNE, UMAP
    share: float  # of the variance, that the plane holds; NaN if it is not a PCA


class Layouts(NamedTuple):
    points: FloatArray  # [responses, spaces, 2]: one space that all criteria share, or one per criterion
    note: str  # how the points were computed, in a few words


def lay_out_spaces(
    embeddings: FloatArray, yes_votes: IntArray, num_votes: IntArray, *, shared: bool, projection: str
) -> Layouts:
    """Layouts for embeddings [responses, dim] with votes [responses, criteria].

    If criteria do not share a space, each has a layout of its slice, scaled to unit norm and turned by its own votes.
    """
    if shared:
        layouts, where = [lay_out(embeddings, yes_votes, num_votes, projection)], ""
    else:
        layouts = [
            lay_out(own_unit(embeddings, c, yes_votes.shape[1]), yes_votes[:, [c]], num_votes[:, [c]], projection)
            for c in range(yes_votes.shape[1])
        ]
        where = " of slices"
    shares = [round(100 * layout.share) for layout in layouts if projection == "pca"]
    least, most = min(shares, default=0), max(shares, default=0)
    variance = f", {least if least == most else f'{least}–{most}'} % of variance" if shares else ""
    return Layouts(np.stack([layout.points for layout in layouts], axis=1), f"{layouts[0].method}{where}{variance}")


def lay_out(embeddings: FloatArray, yes_votes: IntArray, num_votes: IntArray, projection: str) -> Layout:
    """Points for embeddings [responses, dim] with votes [responses, criteria]. Deterministic."""
    check_choice("pictures.projection", projection, PROJECTIONS)
    centred = np.asarray(embeddings, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    points, share = _principal(centred)
    points = _turn(points, vote_layout(yes_votes, num_votes))
    if yes_votes.shape[1] == 1:
        points = _bulging_right(points)
    if projection == "pca":
        return Layout(_centred(points), "PCA", share)
    start = points / max(float(points.std()), 1e-12) * 1e-4  # as scikit-learn starts from PCA
    bent = _tsne(centred, start) if projection == "tsne" else _umap(centred, start)
    bent = bent - bent.mean(axis=0)
    bent *= SPREAD / max(float(np.sqrt((bent**2).sum(axis=1).mean())), 1e-12)
    return Layout(_centred(_turn(bent, points)), "t-SNE" if projection == "tsne" else "UMAP", math.nan)


def vote_layout(yes_votes: IntArray, num_votes: IntArray) -> FloatArray:
    """The layout [responses, 2] that all others are turned onto: y is the mean share of yes over the criteria.

    x is the first principal component of the shares minus that mean: what most sets the criteria apart. Both axes have
    equal weight. A criterion without votes counts as its mean over the responses.
    """
    shares = vote_shares(yes_votes, num_votes)
    has_votes = num_votes > 0
    means = np.where(has_votes, shares, 0).sum(axis=0) / np.maximum(has_votes.sum(axis=0), 1)
    shares = np.where(has_votes, shares, means) - means
    quality = shares.mean(axis=1, keepdims=True)
    profile = shares - quality
    _, _, loadings = np.linalg.svd(profile, full_matrices=False)
    sign = np.sign(loadings[0, np.argmax(np.abs(loadings[0]))])
    layout = np.column_stack([sign * profile @ loadings[0], quality[:, 0]])
    scaled: FloatArray = layout / np.maximum(layout.std(axis=0), 1e-12)
    return scaled


def own_unit(embeddings: FloatArray, criterion: int, num_criteria: int) -> FloatArray:
    """The criterion's own slice of the embeddings [responses, dim], scaled to unit norm."""
    rows = np.asarray(embeddings, dtype=np.float64)[:, own_slices(embeddings.shape[1], num_criteria)[criterion]]
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _principal(centred: FloatArray) -> tuple[FloatArray, float]:
    """The first two components [responses, 2] and their share of the variance."""
    squares, axes = np.linalg.eigh(centred.T @ centred)  # many times faster than an SVD of all responses
    points = np.zeros((len(centred), 2))
    first = axes[:, ::-1][:, :2]
    points[:, : first.shape[1]] = centred @ first
    squares = np.maximum(squares, 0)  # of what is flat, rounding can leave less
    total = float(squares.sum())
    return points, float(squares[::-1][:2].sum()) / total if total else 0.0


def _turn(points: FloatArray, reference: FloatArray) -> FloatArray:
    left, _, right = np.linalg.svd(points.T @ reference)
    turned: FloatArray = points @ (left @ right)
    return turned


def _bulging_right(points: FloatArray) -> FloatArray:
    """Mirrored so that what is halfway up lies to the right of what is at the top and at the bottom.

    The votes of one criterion say which way is up, not which side is left: an arc from no to yes could bulge to either.
    """
    from_the_middle = (points[:, 1] - (points[:, 1].min() + points[:, 1].max()) / 2) ** 2
    bulge = ((points[:, 0] - points[:, 0].mean()) * from_the_middle).sum()
    mirrored: FloatArray = points * (-1 if bulge > 0 else 1, 1)
    return mirrored


def _centred(points: FloatArray) -> FloatArray:
    centred: FloatArray = points - (points.min(axis=0) + points.max(axis=0)) / 2
    return centred


def _tsne(centred: FloatArray, start: FloatArray) -> FloatArray:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(centred) - 1) / 3)
    points: FloatArray = TSNE(init=start, perplexity=perplexity, random_state=0).fit_transform(centred)
    return points


def _umap(centred: FloatArray, start: FloatArray) -> FloatArray:
    try:
        from umap import UMAP
    except ImportError:
        raise ValueError("pictures.projection=umap needs the package umap-learn: pip install -e '.[umap]'") from None
    neighbours = min(15, len(centred) - 1)
    points: FloatArray = UMAP(init=start, n_neighbors=neighbours, random_state=0, n_jobs=1).fit_transform(centred)
    return points
