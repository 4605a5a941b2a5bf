import signal
import time

import pytest

from optuna_sweep.run.interrupts import interruptible


class Interrupted:
    """A KeyboardInterrupt in a destructor, which Python prints and forgets."""

    def __init__(self, signum):
        self.signum = signum

    def __del__(self):
        signal.raise_signal(self.signum)


@pytest.mark.parametrize(("signum", "name"), [(signal.SIGINT, ()), (signal.SIGTERM, ("SIGTERM",))])
def test_an_interruption_in_a_destructor_is_raised_again(signum, name, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as caught, interruptible():
        Interrupted(signum)
        time.sleep(10)
    assert caught.value.args == name
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGTERM) == before
