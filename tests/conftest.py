"""Settings of the whole suite."""

import os
import signal

# before torch is loaded: threads that wait for work must not keep a processor from the other processes of a test
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from support.gpu import NEEDS_CUDA

# a shell that starts the suite in the background has it ignore SIGINT, which the commands under test would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)


# how long an example takes depends on what else the machine does
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items):
    """With several workers, tests that share a fixture of their module or folder run in one worker.

    The slow tests come first.
    """
    for item in items:
        scopes = {found[-1].scope for found in item._fixtureinfo.name2fixturedefs.values()}
        if "package" in scopes:
            item.add_marker(pytest.mark.xdist_group(item.path.parent.name))
        elif "module" in scopes:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    if "PYTEST_XDIST_WORKER" in os.environ:  # else one worker ends with a long test while the other has nothing left
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def device(request):
    """Runs a test on the CPU and, where there is one, on a GPU."""
    return request.param


@pytest.fixture(scope="session")
def postgres_server():
    from support.servers import PostgresServer  # not in the process that only hands out the tests: it imports MLflow

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
