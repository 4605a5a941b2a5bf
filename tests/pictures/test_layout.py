import importlib.util
import re

import numpy as np
import pytest

from contrastive_learning.pictures.layout import lay_out, lay_out_spaces, vote_layout

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
    assert first.share == second.share
    assert (first.points == second.points).all()


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


def arcs(seed):
    """A slice of four dimensions per criterion, in which the share of yes is the angle on an arc that lies anywhere."""
    rng = np.random.default_rng(seed)
    slices = []
    for share in (YES / NUM).T:
        angle = 2.2 * share + 0.1 * rng.normal(size=len(share))
        flat = np.column_stack([np.cos(angle), np.sin(angle), *(0.02 * rng.normal(size=(2, len(share))))])
        slices.append(flat @ np.linalg.qr(rng.normal(size=(4, 4)))[0])
    return np.hstack(slices) / 2


def test_each_criterion_is_laid_out_in_its_own_slice():
    rows = arcs(1)
    own = lay_out_spaces(rows, YES, NUM, shared=False, projection="pca")
    assert own.points.shape == (120, 4, 2)
    for c in range(4):
        part = rows[:, 4 * c : 4 * c + 4]
        unit = part / np.linalg.norm(part, axis=1, keepdims=True)
        by_hand = lay_out(unit, YES[:, [c]], NUM[:, [c]], "pca")
        assert own.points[:, c] == pytest.approx(by_hand.points, abs=1e-12)
    assert own.note == "PCA of slices, 100 % of variance"
    noisy = lay_out_spaces(embeddings(1), YES, NUM, shared=False, projection="pca")
    assert re.fullmatch(r"PCA of slices, \d\d–\d\d % of variance", noisy.note)


def test_slices_of_all_runs_are_turned_alike_and_bulge_to_the_right():
    first, second = (lay_out_spaces(arcs(seed), YES, NUM, shared=False, projection="pca").points for seed in (1, 2))
    for c in range(4):
        share = YES[:, c] / NUM[:, c]
        assert min(agreement(first[:, c], second[:, c])) > 0.8
        assert np.corrcoef(first[:, c, 1], share)[0, 1] > 0.9
        assert np.corrcoef(first[:, c, 0], np.abs(share - 0.5))[0, 1] < -0.5


def test_a_shared_space_is_laid_out_once():
    layouts = lay_out_spaces(embeddings(1), YES, NUM, shared=True, projection="pca")
    assert (layouts.points[:, 0] == lay_out(embeddings(1), YES, NUM, "pca").points).all()
    assert layouts.points.shape == (120, 1, 2)
    assert re.fullmatch(r"PCA, \d\d % of variance", layouts.note)


@pytest.mark.slow
def test_tsne_is_deterministic_and_turned_as_the_pca():
    first, second = (lay_out(embeddings(1), YES, NUM, "tsne") for _ in range(2))
    assert (first.points == second.points).all()
    assert first.method == "t-SNE"
    assert min(agreement(first.points, lay_out(embeddings(1), YES, NUM, "pca").points)) > 0.5


def test_a_projection_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="pictures.projection must be one of pca, tsne, umap; got tsnee .did you mean"):
        lay_out(embeddings(1), YES, NUM, "tsnee")
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(ValueError, match=r"needs the package umap-learn: pip install -e '.\[umap\]'"):
            lay_out(embeddings(1), YES, NUM, "umap")
