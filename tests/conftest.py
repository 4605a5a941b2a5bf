"""Settings of the whole suite."""

import signal

import pytest
import torch

# a shell that starts the suite in the background has it ignore SIGINT, which the commands under test would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def device(request):
    """Runs a test on the CPU and, where there is one, on a GPU."""
    return request.param
