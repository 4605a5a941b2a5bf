import doctest

import pytest
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import idle


def test_the_examples_of_intervals_hold():
    assert doctest.testmod(idle) == (0, 3)


def test_idle_shares_are_of_whole_epochs_without_the_first(capsys):
    """Four epochs of ten seconds, two of five between them; the device is busy for 9 and 9, and for 3 and 0."""
    epochs = [(start, start + 10.0) for start in (0.0, 12.0, 27.0, 42.0)]
    busy = [(0.0, 10.0), (12.0, 20.0), (19.0, 21.0), (24.0, 27.0), (28.0, 37.0), (42.0, 52.0)]
    idle.print_idle(epochs, busy)
    assert capsys.readouterr().out.splitlines() == [
        "steps             20.000 s, idle  10.00%",
        "between epochs    10.000 s, idle  70.00%",
        "together          30.000 s, idle  30.00%",
    ]


def test_a_profile_tells_the_operators_within_and_between_the_epochs():
    numbers = torch.rand(64, 64)

    @idle.marked
    def epoch():
        with record_function("a name, no operator"):
            return numbers @ numbers

    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        epoch()
        numbers.sum()
        epoch()
        sum(range(1000))
        epoch()
    epochs, busy = idle.seconds_of(profiled.events(), DeviceType.CPU)
    gaps = idle.between(epochs)
    assert len(epochs) == 3
    assert all(0 < idle.covered([each], busy) < each[1] - each[0] for each in epochs)
    assert idle.covered(gaps[:1], busy) > 0
    assert idle.covered(gaps[1:], busy) == pytest.approx(0)
    assert idle.covered(epochs + gaps, busy) == pytest.approx(sum(end - start for start, end in idle.union(busy)))
