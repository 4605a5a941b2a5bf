"""The picture of score and geometry over what was swept."""

import json
from io import BytesIO
from statistics import stdev

import pytest
from PIL import Image

from contrastive_app.report.evidence import gather
from contrastive_app.report.measured import GEOMETRY, configurations, score_and_geometry
from contrastive_learning.pictures import Measured, draw_measured

SILHOUETTE = GEOMETRY["val/embedding/silhouette"]


def with_geometry(sweep):
    for number, file in enumerate(sorted(sweep.folder.rglob("metrics.json"))):
        content = json.loads(file.read_text())
        content["metrics"] |= {"val/embedding/silhouette": number / 10, "val/embedding/effective_rank": number + 0.5}
        file.write_text(json.dumps(content))


def test_search_and_fresh_seeds_are_apart_and_lambda_0_is_no_point(sweep):
    sweep.trial(0.05, 0.1, 0.8)
    sweep.trial(0.1, 0.4, 0.7)
    confirmation = sweep.confirmation(0, [0.75, 0.77], [0.7, 0.72])
    with_geometry(sweep)
    drawn, numbers = configurations(gather(sweep.outcome(confirmation)))
    assert numbers == ["τ", "λ"]
    assert [(each.numbers, each.is_fresh) for each in drawn] == [
        ({"τ": 0.05, "λ": 0.1}, False),
        ({"τ": 0.1, "λ": 0.4}, False),
        ({"τ": 0.05, "λ": 0.1}, True),
    ]
    assert drawn[0].values == {"val/macro_f1": [0.8], SILHOUETTE: [0.0], "effective rank": [0.5]}
    assert drawn[2].values["val/macro_f1"] == [0.75, 0.77]


@pytest.mark.parametrize("has_geometry", [True, False])
def test_the_picture_has_a_row_per_measure_that_runs_have(sweep, has_geometry):
    sweep.trial(0.05, 0.1, 0.8, 0.82)
    sweep.trial(0.1, 0.1, 0.7, 0.71)
    sweep.trial(0.1, 0.0, 0.6, 0.65)
    if has_geometry:
        with_geometry(sweep)
    picture = Image.open(BytesIO(score_and_geometry(gather(sweep.outcome()))))
    assert (picture.height > 800) == has_geometry
    assert picture.width < 1000


def test_choices_and_a_single_point_have_no_picture(sweep):
    sweep.trial("mean", True, 0.8)
    sweep.trial("cls", False, 0.7)
    assert score_and_geometry(gather(sweep.outcome())) is None
    assert isinstance(configurations(gather(sweep.outcome()))[0][0], Measured)


@pytest.mark.parametrize(("spread", "widest"), [((), 0.0201), ((0.79, 0.81), 0.2)])
def test_no_axis_is_narrower_than_noise_nor_has_an_offset(spread, widest):
    """Two runs .00006 apart: without several seeds the axis is .02 wide, else four standard deviations."""
    drawn = [
        Measured({"τ": 0.05}, {SILHOUETTE: [0.79692, *spread]}),
        Measured({"τ": 0.1}, {SILHOUETTE: [0.79698, *spread]}),
    ]
    least = 4 * (stdev(drawn[0].values[SILHOUETTE]) if spread else 0.005)
    figure = draw_measured(
        drawn, None, numbers=["τ"], measures=[SILHOUETTE], least_widths={SILHOUETTE: least}, baseline_name=""
    )
    (axes,) = figure.axes
    assert axes.get_ylabel() == SILHOUETTE
    low, high = axes.get_ylim()
    assert least <= high - low + 1e-9 <= widest
    figure.canvas.draw()
    assert axes.yaxis.get_offset_text().get_text() == ""
