import threading

import pytest

from contrastive_learning.training.background import Background


def test_after_a_job_that_fails_no_other_is_begun():
    """So no checkpoint is written whose picture was not drawn."""
    background, done, begin = Background(), [], threading.Event()

    def fail():
        begin.wait()
        raise ValueError("no space left")

    background.do(done.append, "first")
    background.do(fail)
    background.do(done.append, "third")
    background.check()  # nothing is known yet
    begin.set()
    with pytest.raises(ValueError, match="no space left"):
        background.wait()
    assert done == ["first"]
    background.wait()  # it was told once


def test_a_failure_is_told_as_soon_as_it_is_known():
    background, failed = Background(), threading.Event()

    def fail():
        raise ValueError("no space left")

    background.do(fail)
    background.do(failed.set)
    with pytest.raises(ValueError, match="no space left"):
        while True:
            background.check()
    assert not failed.is_set()


def test_jobs_run_beside_the_thread_that_gives_them():
    background, here = Background(), threading.Event()
    background.do(here.wait)
    here.set()  # would be too late in one thread
    background.do(lambda: here.clear())
    background.wait()
    assert not here.is_set()
