"""NVIDIA's multi-process service (MPS): several processes compute on a GPU at once, which else is time-sliced.

Its control program is a daemon with a pipe and a log in folders of our own, so that no setting of the card and no other
user's service is touched: https://docs.nvidia.com/deploy/mps.
"""

import ctypes
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CONTROL = "nvidia-cuda-mps-control"
PIPE, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
START_SECONDS, STOP_SECONDS = 20.0, 30.0
# waits for the end of its standard input, which comes with that of this process, even by kill -9
GUARDIAN = f'cat > /dev/null; echo "quit -t 20" | {CONTROL} > /dev/null 2>&1; rm -rf "$0"'


def gpu_answers(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment can open the first GPU: if not, it says so here, not in a trial."""
    try:
        return subprocess.run([sys.executable, __file__], env=environment, timeout=START_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class MultiProcessService:
    """The service for the GPUs of one sweep.

        service = started_for(["0"])
        environment = os.environ | service.environment  # of the trials
        service.stop()

    environment: the variables by which processes find the service; empty if there is none.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._guardian: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        if folder is not None:
            self.environment = {PIPE: folder, LOG: folder}
            # in a session of its own: Ctrl-C at the terminal is not for it
            self._guardian = subprocess.Popen(
                ["sh", "-c", GUARDIAN, folder],
                stdin=subprocess.PIPE,
                env=os.environ | self.environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """End the service and remove its folder. The processes that use it must have ended."""
        guardian, self._guardian = self._guardian, None
        self.environment = {}
        if guardian is not None:
            assert guardian.stdin is not None
            guardian.stdin.close()
            with suppress(subprocess.TimeoutExpired):  # the guardian ends without us, too
                guardian.wait(STOP_SECONDS)


def started_for(gpus: Sequence[str], answers: Callable[[Mapping[str, str]], bool] = gpu_answers) -> MultiProcessService:
    """Start the service for these GPUs, or say in one line of the log why not.

    answers: whether a process with an environment can open the GPU.
    """
    reason = _reason_against(gpus)
    if reason is None:
        folder = tempfile.mkdtemp(prefix="mps-")  # short, as the path of a socket must be
        # the daemon must see all GPUs: it would number those that CUDA_VISIBLE_DEVICES lists anew
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        environment |= {PIPE: folder, LOG: folder}
        reason = _start(environment, Path(folder, "start.log"))
        if reason is not None:
            shutil.rmtree(folder)
    if reason is not None:
        log.info(f"GPUs with several trials are time-sliced, without NVIDIA's multi-process service: {reason}")
        return MultiProcessService()
    service = MultiProcessService(folder)
    if not answers(environment | {"CUDA_VISIBLE_DEVICES": gpus[0]}):
        service.stop()
        log.info(
            "GPUs with several trials are time-sliced, as none can be opened through NVIDIA's multi-process service"
        )
        return service
    log.info("several trials compute on a GPU at once, through NVIDIA's multi-process service")
    return service


def _reason_against(gpus: Sequence[str]) -> str | None:
    if any(gpu.startswith("MIG-") for gpu in gpus):
        return "it would need one service per slice of a GPU"
    if PIPE in os.environ:
        return f"{PIPE} says that there is one already"
    return None if shutil.which(CONTROL) else f"{CONTROL} is not there"


def _start(environment: Mapping[str, str], said: Path) -> str | None:
    """Start the daemon. Returns why that failed, in one line. said: a file, for a daemon could keep a pipe open."""
    with said.open("wb") as output:
        io: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        try:
            code = subprocess.run([CONTROL, "-d"], env=environment, timeout=START_SECONDS, **io).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{CONTROL} does not start: {error}"
    lines = said.read_text(errors="replace").splitlines()
    return None if code == 0 else f"{CONTROL} does not start: {lines[0] if lines else f'exit code {code}'}"


def _open_gpu() -> int:
    """Make a CUDA context on the first GPU. Returns CUDA's error code: 0 for none, -1 without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return -1
    error: int = cuda.cuInit(0)
    return error or int(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0))


if __name__ == "__main__":
    sys.exit(_open_gpu() != 0)
