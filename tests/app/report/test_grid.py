"""Where the maps of a sweep's runs lie in one picture."""

import json
from dataclasses import replace

import numpy as np
import pytest

from contrastive_app.report.evidence import gather
from contrastive_app.report.grid import before_and_after, criterion_of, panels_of
from contrastive_learning.pictures import EmbeddingMap

VOTES = np.array([[0, 1], [3, 2], [3, 3], [1, 0]])


@pytest.fixture
def mapped(sweep):
    """Gives every run that there is by then a map, with a silhouette and a rank that tell runs apart."""

    def write_maps(spaces=1):
        for number, file in enumerate(sorted(sweep.folder.rglob("metrics.json"))):
            content = json.loads(file.read_text())
            content["metrics"] |= {
                "val/embedding/silhouette/safe": number / 100,
                "val/embedding/effective_rank": number + 0.5,
            }
            file.write_text(json.dumps(content))
            points = np.random.default_rng(number).normal(size=(4, spaces, 2))
            shown = EmbeddingMap("", "epoch 2", "F1", "PCA", points, VOTES, np.full((4, 2), 3), ("safe", "kind"))
            shown.write(file.with_name("embedding_map.parquet"))
        return sweep

    return write_maps


def titles(panels):
    return [None if panel is None else panel.shown.title for panel in panels]


def test_a_grid_has_a_row_for_each_lambda_and_a_column_for_each_temperature(sweep, mapped):
    for weight in (0.3, 0):
        for temperature in (0.1, 0.05):
            if (weight, temperature) != (0, 0.1):
                sweep.trial(temperature, weight, 0.7 + temperature)
    panels, columns = panels_of(gather(mapped().outcome()), "safe")
    assert columns == 2
    assert titles(panels) == ["002 τ=0.05 λ=0", None, "001 τ=0.05 λ=0.3", "000 τ=0.1 λ=0.3"]
    assert panels[0].note == "silhouette 0.02, effective rank 2.5"


def test_before_and_after_training_are_of_one_seed_that_left_all_maps(sweep, mapped):
    sweep.trial(0.1, 0, 0.7, 0.7)
    sweep.trial(0.1, 0.3, 0.8, 0.8)
    evidence = gather(mapped().outcome())
    assert before_and_after(evidence, "safe") == []  # no map of the time before training
    run = evidence.baseline.runs[1].folder
    shown = EmbeddingMap.read(run / "embedding_map.parquet")
    replace(shown, when="before training").write(run / "embedding_map_before.parquet")
    panels = before_and_after(evidence, "safe")
    assert titles(panels) == ["before training", "λ = 0", "τ=0.1 λ=0.3"]
    assert [panel.note for panel in panels[1:]] == [
        "silhouette 0.01, effective rank 1.5",  # of seed 1
        "silhouette 0.03, effective rank 3.5",
    ]
    assert before_and_after(evidence, "no such criterion") == []


def test_a_search_is_ordered_by_lambda_and_a_confirmed_baseline_comes_first(sweep, mapped):
    for temperature, weight in ((0.07, 0.4), (0.11, 0.2), (0.05, 0.1), (0.09, 0.3)):
        sweep.trial(temperature, weight, 0.7)
    sweep.trial(0.2, 0.15, 0.5, state="PRUNED")
    confirmation = sweep.confirmation(0, [0.8] * 4, [0.7] * 4)
    panels, columns = panels_of(gather(mapped().outcome(confirmation, chosen=0)), "safe")
    assert columns == 3
    assert titles(panels) == [
        "λ = 0",
        "002 τ=0.05 λ=0.1",
        "004 τ=0.2 λ=0.15 (pruned)",
        "001 τ=0.11 λ=0.2",
        "003 τ=0.09 λ=0.3",
        "000 τ=0.07 λ=0.4",
    ]
    assert [panel.is_faint for panel in panels] == [False, False, True, False, False, False]


def test_the_criterion_is_the_chosen_one_or_that_of_the_most_even_votes(sweep, mapped):
    sweep.trial(0.07, 0.1, 0.7)
    assert criterion_of(gather(sweep.outcome()), None) is None
    evidence = gather(mapped().outcome())
    assert criterion_of(evidence, "kind") == "kind"
    assert criterion_of(evidence, None) in ("safe", "kind")
    assert titles(panels_of(evidence, "other")[0]) == []


def test_of_slices_the_maps_show_the_clearest_of_the_best_run(sweep, mapped):
    sweep.trial(0.07, 0.1, 0.7)
    assert criterion_of(gather(mapped(spaces=2).outcome()), None) == "safe"  # the only one with a silhouette
