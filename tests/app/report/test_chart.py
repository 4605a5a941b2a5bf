import pytest

from contrastive_app.report.chart import HEIGHT, LETTER, WIDTH, charts
from contrastive_app.report.evidence import gather


def test_equal_values_have_one_tick_beside_their_points(sweep):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.1, 0.1, 0.8)
    (chart,) = charts(gather(sweep.outcome()))
    assert [(tick.at, tick.label) for tick in chart.y_ticks] == [(HEIGHT / 2, "0.800")]
    assert [(point.y, point.mark) for point in chart.points] == [(HEIGHT / 2, ""), (HEIGHT / 2, "best")]


@pytest.mark.parametrize("num_choices", [2, 3, 8])
def test_names_of_choices_stay_apart_and_inside(sweep, num_choices):
    for index in range(num_choices):
        sweep.trial(f"some/encoder-{index}-base", 0.1, index / 10)
    (chart,) = charts(gather(sweep.outcome()))
    room = WIDTH / num_choices
    assert [tick.at for tick in chart.x_ticks] == pytest.approx([room * (index + 0.5) for index in range(num_choices)])
    assert all(len(tick.label) * LETTER <= room for tick in chart.x_ticks)
    assert {point.x for point in chart.points} == {tick.at for tick in chart.x_ticks}
    assert "some/encoder-1-base" in {point.label.split()[1].rstrip(":") for point in chart.points}
