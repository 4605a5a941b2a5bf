import importlib.util

import numpy as np
import pytest

from contrastive_learning.pictures.layout import lay_out, vote_layout

RNG = np.random.default_rng(0)
SHARES = RNG.beta(0.6, 0.3, (120, 4))
YES, NUM = RNG.binomial(3, SHARES), np.full(SHARES.shape, 3)


def embeddings(seed, noise=0.05):
    """Unit vectors that hold the votes, in coordinates that are random with each seed."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    rows = np.hstack([YES / NUM, np.ones((len(YES), 1)), np.zeros((len(YES), 11))]) @ rotation
    rows += noise * rng.normal(size=rows.shape)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def agreement(first, second):
    return [np.corrcoef(first[:, axis], second[:, axis])[0, 1] for axis in (0, 1)]


def test_runs_with_other_random_directions_come_out_alike():
    first, second = (lay_out(embeddings(seed), YES, NUM, "pca").points for seed in (1, 2))
    assert min(agreement(first, second)) > 0.9


def test_up_is_more_yes_votes():
    points = lay_out(embeddings(1), YES, NUM, "pca").points
    assert np.corrcoef(points[:, 1], (YES / NUM).mean(axis=1))[0, 1] > 0.5


def test_turning_keeps_every_distance_of_the_pca():
    rows = embeddings(1)
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    plain, turned = left[:, :2] * singular[:2], lay_out(rows, YES, NUM, "pca").points
    distances = [np.linalg.norm(points[:, None] - points[None], axis=-1) for points in (plain, turned)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-9)


def test_the_same_input_gives_the_same_picture():
    first, second = (lay_out(embeddings(1), YES, NUM, "pca") for _ in range(2))
    assert first.note == second.note
    assert (first.points == second.points).all()
    assert "% of variance" in first.note


def test_a_response_that_nobody_judged_counts_as_average():
    num = NUM.copy()
    num[0] = 0
    assert np.isfinite(vote_layout(YES * (num > 0), num)).all()
    assert vote_layout(YES * (num > 0), num)[0] == pytest.approx([0, 0], abs=0.2)


@pytest.mark.parametrize("rows", [np.zeros((120, 16)), np.ones((120, 1)), embeddings(1)[:, :1]])
def test_collapsed_or_flat_embeddings_still_have_a_picture(rows):
    assert np.isfinite(lay_out(rows, YES, NUM, "pca").points).all()


def test_one_criterion_is_enough():
    assert np.isfinite(lay_out(embeddings(1), YES[:, :1], NUM[:, :1], "pca").points).all()


@pytest.mark.slow
def test_tsne_is_deterministic_and_turned_as_the_pca():
    first, second = (lay_out(embeddings(1), YES, NUM, "tsne") for _ in range(2))
    assert (first.points == second.points).all()
    assert first.note == "t-SNE"
    assert min(agreement(first.points, lay_out(embeddings(1), YES, NUM, "pca").points)) > 0.5


def test_a_projection_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="pictures.projection must be one of pca, tsne, umap; got tsnee .did you mean"):
        lay_out(embeddings(1), YES, NUM, "tsnee")
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(ValueError, match=r"needs the package umap-learn: pip install -e '.\[umap\]'"):
            lay_out(embeddings(1), YES, NUM, "umap")
