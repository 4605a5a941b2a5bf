import signal
import threading

import pytest

from contrastive_learning.runtime.interrupts import HeldSignals


def test_a_signal_waits_for_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt), HeldSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        done.append(signals.received)
    assert done == [signal.SIGINT]


def test_without_a_signal_nothing_happens_and_the_handlers_return():
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with HeldSignals() as signals:
        pass
    assert signals.received is None
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with HeldSignals() as signals:
            signal.raise_signal(signal.SIGTERM)
            assert signals.received is None
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_it_holds_nothing_back():
    handlers = []

    def work():
        with HeldSignals():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
