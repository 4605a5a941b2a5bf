from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from contrastive_learning.pictures import EmbeddingMap, PictureSettings, RunPictures
from contrastive_learning.pictures.maps import draw_all_criteria, draw_map, draw_overview

IDS = [f"r{index}" for index in range(30)]
SETTINGS = {"projection": "pca", "criterion": None, "sample_size": 20, "projector_files": True}


def start(folder, split, criteria, *, temperature=0.07, lambda_contrastive=0.1, **changes):
    return RunPictures(
        PictureSettings(**(SETTINGS | changes)),
        split,
        criteria,
        folder,
        temperature=temperature,
        lambda_contrastive=lambda_contrastive,
        objective="val/macro_f1",
    )


def test_a_run_leaves_pictures_at_the_root_and_data_in_its_folder(tmp_path, make_split, evaluate, criteria):
    split = make_split(IDS)
    run = start(tmp_path, split, criteria)
    assert run.at_epoch(evaluate(split, 0), 0, 0.5).startswith(b"\x89PNG")
    files = {path.name: folder for path, folder in run.at_end(evaluate(split, 1), 1, 0.6, run.criterion)}
    assert files == {
        "embedding.png": None,
        "embedding.html": None,
        "embedding_map.parquet": "embeddings",
        "embedding_map_before.parquet": "embeddings",
        "embedding_history.parquet": "embeddings",
        "vectors.tsv": "embeddings",
        "metadata.tsv": "embeddings",
    }
    with Image.open(tmp_path / "embedding.png") as image:
        assert image.width == 800
    shown = EmbeddingMap.read(tmp_path / "embedding_map.parquet")
    assert (shown.title, shown.when, shown.subtitle) == ("τ 0.07   λ 0.1", "epoch 1", "val/macro_f1 0.600")
    before = EmbeddingMap.read(tmp_path / "embedding_map_before.parquet")
    assert (before.when, before.subtitle) == ("before training", "val/macro_f1 0.500")
    assert np.abs(before.points - shown.points).max() > 0.01


def clear_in(evaluation, criterion):
    """The evaluation, with the votes of one criterion as the angle in its slice and noise in the others."""
    embeddings = np.random.default_rng(0).normal(size=(len(IDS), 12))
    angle = 3 * evaluation.yes_votes[:, criterion] / evaluation.num_votes[:, criterion]
    embeddings[:, 4 * criterion : 4 * criterion + 4] = np.stack([np.cos(angle), np.sin(angle), 0 * angle, 0 * angle], 1)
    return replace(evaluation, embeddings=embeddings, projection="per_criterion")


def metrics_of(evaluation, criteria):
    """As a run has them."""
    return {f"val/embedding/{name}": value for name, value in evaluation.embedding_metrics(criteria).items()}


def test_in_a_shared_space_no_criterion_is_the_clearest(tmp_path, make_split, evaluate, criteria):
    split = make_split(IDS)
    run = start(tmp_path, split, criteria)
    assert run.criterion_at_end(metrics_of(evaluate(split, 0), criteria), "shared") == run.criterion


@pytest.mark.parametrize(("chosen", "large"), [(None, "on_topic"), ("safe", "safe")])
def test_the_large_panel_is_the_clearest_slice_unless_chosen(tmp_path, make_split, evaluate, criteria, chosen, large):
    split = make_split(IDS)
    run = start(tmp_path, split, criteria, criterion=chosen)
    clear = clear_in(evaluate(split, 0), criteria.index("on_topic"))
    run.at_epoch(clear, 1, 0.6)
    list(run.at_end(clear, 1, 0.6, run.criterion_at_end(metrics_of(clear, criteria), "per_criterion")))
    shown = EmbeddingMap.read(tmp_path / "embedding_map.parquet")
    assert shown.points.shape == (20, 3, 2)
    assert (tmp_path / "embedding.png").read_bytes() == draw_overview(shown, large)
    assert f'"criterion":{criteria.index(large)},' in (tmp_path / "embedding.html").read_text(encoding="utf-8")


def test_slices_in_which_nobody_agrees_fall_back_to_the_most_even_votes(tmp_path, make_split, evaluate, criteria):
    split = make_split(IDS)
    evaluation = evaluate(split, 0, projection="per_criterion")
    all_yes = replace(evaluation, yes_votes=evaluation.num_votes)
    run = start(tmp_path, split, criteria)
    list(run.at_end(all_yes, 1, 0.6, run.criterion_at_end(metrics_of(all_yes, criteria), "per_criterion")))
    shown = EmbeddingMap.read(tmp_path / "embedding_map.parquet")
    assert (tmp_path / "embedding.png").read_bytes() == draw_overview(shown, run.criterion)


def test_projector_files_have_a_line_for_each_response(tmp_path, make_split, evaluate, criteria):
    split = make_split(IDS, response="tab\tand\nnewline")
    list(start(tmp_path, split, criteria).at_end(evaluate(split, 1), 1, 0.6, criteria[0]))
    vectors = (tmp_path / "vectors.tsv").read_text().splitlines()
    metadata = (tmp_path / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    assert len(vectors) == len(metadata) - 1 == 20
    assert {line.count("\t") for line in vectors} == {15}
    assert {line.count("\t") for line in metadata} == {5}
    assert metadata[1].endswith("tab and newline")


def test_the_baseline_has_no_temperature_in_its_title(tmp_path, make_split, criteria):
    split = make_split(IDS)
    assert start(tmp_path, split, criteria, temperature=None, lambda_contrastive=0.0).title == "λ 0"
    assert start(tmp_path, split, criteria, temperature=0.07, lambda_contrastive=0.0).title == "λ 0"


@pytest.mark.parametrize("chosen", [None, "safe"])
def test_an_epoch_shows_all_criteria_unless_one_is_chosen(tmp_path, make_split, evaluate, criteria, chosen):
    split = make_split(IDS)
    run = start(tmp_path, split, criteria, criterion=chosen)
    png = run.at_epoch(evaluate(split, 0), 0, 0.5)
    list(run.at_end(evaluate(split, 1), 1, 0.6, run.criterion))
    before = EmbeddingMap.read(tmp_path / "embedding_map_before.parquet")
    assert png == (draw_all_criteria(before) if chosen is None else draw_map(before, chosen))


def test_a_misspelt_criterion_is_named(tmp_path, make_split, criteria):
    with pytest.raises(ValueError, match="pictures.criterion must be one of .*; got saf .did you mean safe"):
        start(tmp_path, make_split(IDS), criteria, criterion="saf")
