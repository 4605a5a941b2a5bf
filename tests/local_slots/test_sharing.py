"""How many trials fit on a GPU."""

import pytest

from local_slots.sharing import CONTEXT_BYTES, GpuMemory, measured, slots_that_fit

GIB = 1 << 30


@pytest.mark.parametrize(
    ("peak", "available", "most", "expected"),
    [
        (4, 23, 16, 4),  # 23.6 of 1.25 x 4 + .6 GiB
        (4, 139, 16, 16),
        (0.5, 139, 200, 48),  # of clients of the service
        (30, 39, 16, 1),  # one has run, however much it took
        (60, 39, 16, 1),
    ],
)
def test_as_many_fit_as_their_memory_with_a_margin_and_their_contexts_allow(peak, available, most, expected):
    assert slots_that_fit(GpuMemory(int(peak * GIB), available * GIB), most) == expected


def test_at_the_edge_one_byte_decides():
    """Two trials of 1 GiB need 2 (1.25 + .6) GiB, of which one context is taken already."""
    needed = 2 * (int(1.25 * GIB) + CONTEXT_BYTES) - CONTEXT_BYTES
    assert slots_that_fit(GpuMemory(GIB, needed), 9) == 2
    assert slots_that_fit(GpuMemory(GIB, needed - 1), 9) == 1


def test_a_process_that_has_used_no_gpu_tells_nothing():
    assert measured() is None
