"""NVIDIA's multi-process service, with a small program in the place of NVIDIA's: whether a GPU shares is not tested."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_slots import mps
from support.sweeps import wait_for

# what it is asked, with which folders, is in the file `said`; the daemon lives until it is told to quit
CONTROL = """#!/bin/sh
echo "$* pipe=$CUDA_MPS_PIPE_DIRECTORY visible=${CUDA_VISIBLE_DEVICES-all}" >> SAID
if [ "$1" = -d ]; then
    sh -c 'while [ ! -e "$CUDA_MPS_PIPE_DIRECTORY/quit" ]; do sleep 0.05; done; echo gone >> SAID' &
else
    read order; echo "$order" >> SAID; touch "$CUDA_MPS_PIPE_DIRECTORY/quit"; sleep 0.3
fi
"""


@pytest.fixture
def said(tmp_path, monkeypatch):
    """The file in which the program writes; the program is first in PATH."""
    said = tmp_path / "said"
    provide(tmp_path / "bin", CONTROL.replace("SAID", str(said)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(mps.tempfile, "tempdir", None)
    monkeypatch.delenv(mps.PIPE, raising=False)
    return said


def provide(folder, text):
    folder.mkdir()
    program = folder / mps.CONTROL
    program.write_text(text)
    program.chmod(0o755)


def test_the_service_runs_in_its_own_folder_and_ends_when_it_is_stopped(said):
    asked = []
    service = mps.started_for(["1"], lambda environment: asked.append(environment) or True)
    (folder,) = set(service.environment.values())
    assert service.environment.keys() == {mps.PIPE, mps.LOG}
    assert asked[0].items() >= {mps.PIPE: folder, "CUDA_VISIBLE_DEVICES": "1"}.items()
    service.stop()
    service.stop()
    lines = said.read_text().splitlines()
    assert lines[0] == f"-d pipe={folder} visible=all"  # it numbers what it sees
    assert lines[2:] == ["quit -t 20", "gone"]
    assert not Path(folder).exists()
    assert service.environment == {}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_no_service_outlives_the_command_however_that_ends(said, signum):
    code = "import time; from local_slots import mps; s = mps.started_for(['1'], lambda e: True)\n"
    code += "print(s.environment[mps.PIPE], flush=True); time.sleep(60)"
    command = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    folder = Path(command.stdout.readline().strip())
    assert folder.is_dir()
    command.send_signal(signum)
    command.communicate(timeout=60)
    wait_for(lambda: not folder.exists())
    assert said.read_text().splitlines()[2:] == ["quit -t 20", "gone"]


def test_a_service_that_no_process_can_open_is_ended_again(said, caplog):
    caplog.set_level("INFO")
    service = mps.started_for(["1"], lambda environment: False)
    assert service.environment == {}
    assert said.read_text().splitlines()[-1] == "gone"
    assert caplog.messages == [
        "GPUs with several trials are time-sliced, as none can be opened through NVIDIA's multi-process service"
    ]


@pytest.mark.parametrize(
    ("gpus", "program", "pipe", "reason"),
    [
        (["0"], "#!/bin/sh\necho 'An instance of this daemon is already running'; exit 1\n", None, "already running"),
        (["0"], "#!/bin/sh\nexit 3\n", None, "does not start: exit code 3"),
        (["0"], None, None, "nvidia-cuda-mps-control is not there"),
        (["MIG-41b35f5c"], CONTROL, None, "one service per slice of a GPU"),
        (["0"], CONTROL, "/elsewhere", "CUDA_MPS_PIPE_DIRECTORY says that there is one already"),
    ],
)
def test_without_the_service_trials_run_all_the_same_and_one_line_says_why(
    tmp_path, monkeypatch, caplog, gpus, program, pipe, reason
):
    caplog.set_level("INFO")
    if program is not None:
        provide(tmp_path / "bin", program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if pipe is not None:
        monkeypatch.setenv(mps.PIPE, pipe)
    service = mps.started_for(gpus)
    assert service.environment == {}
    service.stop()
    (message,) = caplog.messages
    assert message.startswith("GPUs with several trials are time-sliced, without NVIDIA's multi-process service: ")
    assert reason in message


def test_without_a_driver_no_gpu_answers(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not mps.gpu_answers(os.environ)
