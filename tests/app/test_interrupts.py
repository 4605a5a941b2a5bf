import signal
import sys
import threading
import time

import pytest

from contrastive_app.interrupts import close_first, listen

MODULE = """
import signal, time
signal.raise_signal(signal.SIGTERM)
time.sleep(0.2)
is_whole = True
"""


@pytest.fixture
def with_something_open():
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook
    listen()
    close_first()
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)
    sys.unraisablehook = hook


@pytest.mark.usefixtures("with_something_open")
def test_an_import_is_whole_before_it_is_interrupted(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        import slow_to_import  # noqa: F401

        threading.Event().wait(10)
    assert sys.modules.pop("slow_to_import").is_whole


class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.usefixtures("with_something_open")
def test_an_interruption_in_a_destructor_is_raised_again(capsys):
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        Interrupted()
        time.sleep(10)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("with_something_open")
def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listen()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
