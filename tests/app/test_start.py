"""The first word of a command, and Ctrl-C at any moment, in interpreters as a user starts them."""

import signal
import time

import pytest

from support.commands import NIGHTLY, SMALL, TRAIN, run, start, wait_while_running

FIRST = "loading …\n"
RUN = (*TRAIN, *SMALL, "trainer.epochs=50", "tracking=none")
SWEEP = (*TRAIN, "-m", *SMALL, "loss.temperature=0.05,0.1", "trainer.epochs=50", "tracking=none")
SECONDS = 8.0  # from the first word until epochs have been trained, on a machine that is busy
MOMENTS = [SECONDS * number / 20 for number in range(20)] if NIGHTLY else [0.0, 0.5, 1.5]


@pytest.mark.parametrize("after", MOMENTS)
@pytest.mark.parametrize(
    ("argv", "signum", "code"), [(RUN, signal.SIGINT, 130), (RUN, signal.SIGTERM, 143), (SWEEP, signal.SIGINT, 130)]
)
def test_a_signal_at_any_moment_ends_in_one_line(argv, signum, code, after, tmp_path):
    command = start(*argv, cwd=tmp_path, new_interpreter=True)
    try:
        wait_while_running(command, command.errors)
        time.sleep(after)
        command.send_signal(signum)
        out, errors = command.communicate(60)
    finally:
        command.kill()
    assert errors.startswith(FIRST)
    assert errors.splitlines()[-1].startswith("interrupted")
    assert (errors.count("interrupted"), errors.count("loading")) == (1, 1)
    for trouble in ("Traceback", "Error", "Exception", "Fault"):
        assert trouble not in out + errors
    assert command.returncode == code


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_judge_command_ends_in_one_line(signum, code, tmp_path):
    command = start("-m", "src.judge", "responses.jsonl", cwd=tmp_path, new_interpreter=True)
    try:
        wait_while_running(command, command.errors)
        command.send_signal(signum)
        out, errors = command.communicate(60)
    finally:
        command.kill()
    assert (command.returncode, out, errors) == (code, "", f"{FIRST}interrupted\n")


@pytest.mark.parametrize("option", ["--help", "--version", "--cfg=job"])
def test_a_command_that_only_prints_says_nothing_before(option, tmp_path):
    done = run(*TRAIN, option, cwd=tmp_path, check=True)
    assert done.stdout
    assert done.stderr == ""
