"""Settings of the whole suite."""

import signal

import pytest

from support.gpu import NEEDS_CUDA
from support.servers import PostgresServer

# a shell that starts the suite in the background has it ignore SIGINT, which the commands under test would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def device(request):
    """Runs a test on the CPU and, where there is one, on a GPU."""
    return request.param


@pytest.fixture(scope="session")
def postgres_server():
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server):
    """With a database of its own at `url`."""
    postgres_server.use_new_database()
    yield postgres_server
    postgres_server.start_again()
