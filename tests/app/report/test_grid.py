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
    panels, columns, order = panels_of(gather(mapped().outcome()), "safe")
    assert (columns, order) == (2, "λ rises from row to row, τ from left to right")
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


def test_a_search_has_rows_of_similar_lambda_in_which_the_temperature_rises(sweep, mapped):
    for temperature, weight in ((0.07, 0.1), (0.11, 0.45), (0.05, 0.1003), (0.09, 0.3)):
        sweep.trial(temperature, weight, 0.7)
    sweep.trial(0.2, 0.15, 0.5, state="PRUNED")
    confirmation = sweep.confirmation(0, [0.8] * 4, [0.7] * 4)
    panels, columns, order = panels_of(gather(mapped().outcome(confirmation, chosen=0)), "safe")
    assert (columns, order) == (3, "similar λ in a row, higher ones below; in each row τ rises")
    assert titles(panels) == [
        *("λ = 0", None, None),
        *("002 τ=0.05 λ=0.1", "000 τ=0.07 λ=0.1", None),
        *("003 τ=0.09 λ=0.3", "001 τ=0.11 λ=0.45", "004 τ=0.2 λ=0.15 (pruned)"),
    ]
    assert [panel.is_faint for panel in panels if panel is not None] == [False] * 5 + [True]


def test_seeds_of_a_grid_share_the_row_of_their_lambda(sweep, mapped):
    for temperature in (0.05, 0.1):
        for weight in (0, 0.1):
            for seed in range(4):
                sweep.trial(temperature, weight, 0.7, seeds=(seed,))
    panels, columns, _ = panels_of(gather(mapped().outcome()), "safe")
    assert columns == 6
    rows = [panels[start : start + 6] for start in range(0, 24, 6)]
    places = [[" ".join(title.split()[1:]) for title in titles(row) if title is not None] for row in rows]
    assert places[:2] == [["τ=0.05 λ=0"] * 4 + ["τ=0.1 λ=0"] * 2, ["τ=0.1 λ=0"] * 2]
    assert places[2:] == [["τ=0.05 λ=0.1"] * 4 + ["τ=0.1 λ=0.1"] * 2, ["τ=0.1 λ=0.1"] * 2]


def test_a_large_search_has_more_rows_rather_than_more_than_six_columns(sweep, mapped):
    for index in range(50):
        sweep.trial(0.05 + index * 7 % 50 / 1000, 0.1 + index / 100, 0.7, seeds=(0,))
    panels, columns, _ = panels_of(gather(mapped().outcome()), "safe")
    assert (columns, len(panels)) == (6, 54)


def test_one_number_is_in_its_order_and_choices_have_the_best_first(sweep, mapped):
    for temperature in (0.2, 0.05, 0.1, 0.15):
        sweep.trial(temperature, 0.1, 0.7 + temperature)
    one = replace(mapped().outcome(), trials=[_without_lambda(trial) for trial in sweep.trials])
    panels, columns, order = panels_of(gather(one), "safe")
    assert (columns, order) == (3, "τ rises from run to run")
    assert titles(panels) == ["001 τ=0.05", "002 τ=0.1", "003 τ=0.15", "000 τ=0.2", None, None]
    sweep.trial("learned", 0.1, 0.95)
    panels, _, order = panels_of(gather(mapped().outcome()), "safe")
    assert (titles(panels)[0], order) == ("004 τ=learned λ=0.1", "the best first")


def _without_lambda(trial):
    return replace(trial, params={"loss.temperature": trial.params["loss.temperature"]})


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
