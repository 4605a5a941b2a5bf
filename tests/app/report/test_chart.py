import pytest

from contrastive_app.report.chart import HEIGHT, LETTER, WIDTH, charts
from contrastive_app.report.evidence import gather


@pytest.mark.parametrize("apart", [0, 0.00006])
def test_what_one_seed_sets_apart_by_little_lies_side_by_side(sweep, apart):
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.1, 0.1, 0.8 + apart)
    (chart,) = charts(gather(sweep.outcome()))
    assert [(tick.at, tick.label) for tick in chart.y_ticks] == [(HEIGHT, "0.790"), (0, "0.810")]
    assert [point.y for point in chart.points] == pytest.approx([HEIGHT / 2] * 2, abs=HEIGHT * 0.003)
    assert chart.noise == 0


def test_the_axis_is_no_narrower_than_four_standard_deviations_over_seeds(sweep):
    """The first axis is that of the fresh seeds' spread: .01 each side of .7 and .6, pooled .01 x sqrt 2."""
    sweep.trial(0.07, 0.1, 0.8)
    sweep.trial(0.1, 0.1, 0.804)
    (chart,) = charts(gather(sweep.outcome(sweep.confirmation(1, [0.69, 0.71], [0.59, 0.61]))))
    width = 4 * 0.01 * 2**0.5
    assert [tick.label for tick in chart.y_ticks] == [f"{0.802 - width / 2:.3f}", f"{0.802 + width / 2:.3f}"]
    assert chart.noise == pytest.approx(HEIGHT / 2)
    assert [point.y for point in chart.points] == pytest.approx([HEIGHT * (0.5 + x / width) for x in (0.002, -0.002)])


def test_ends_of_a_narrow_axis_are_told_apart(sweep):
    sweep.trial(0.07, 0.1, 0.8, 0.80002)
    sweep.trial(0.1, 0.1, 0.8, 0.80002)
    (chart,) = charts(gather(sweep.outcome()))
    assert len({tick.label for tick in chart.y_ticks}) == 2


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
