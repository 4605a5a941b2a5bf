"""Divides GPUs and threads among the slots, and sets the environment variables of each slot and process."""

import math
import os
import re
import shutil
import socket
import subprocess
from itertools import takewhile

from hydra.errors import CompactHydraException

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CORES = "cores"  # as num_slots
AUTO = "auto"  # as slots_per_gpu
# a number, a UUID, or a slice of a GPU; whatever else is listed (-1, NoDevFiles, none) hides what follows it from CUDA
GPU_NAME = re.compile(r"\d+|(GPU|MIG)-\S+")


def visible_gpus() -> list[str]:
    """The GPUs that CUDA would see, as values for CUDA_VISIBLE_DEVICES. Asks nvidia-smi, so CUDA is not started."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",")]
        return list(takewhile(GPU_NAME.fullmatch, names))
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return answer.stdout.split() if answer.returncode == 0 else []


def slot_environments(
    gpus: list[str], num_slots: int | str | None, *, gpus_per_trial: int, slots_per_gpu: int | str, num_processes: int
) -> list[dict[str, str]]:
    """For each slot, the environment variables that it adds to its jobs.

    Without GPUs, or if `gpus_per_trial` is 0, `num_slots` is 1 by default, and with `cores` one slot per core; else
    it is as many as the GPUs allow. With `slots_per_gpu=auto` they begin with one slot per GPU, and `num_slots` is the
    most that there will be. Raises CompactHydraException if the slots need more GPUs than there are.
    """
    _check_at_least(0, gpus_per_trial=gpus_per_trial)
    if slots_per_gpu != AUTO and not isinstance(slots_per_gpu, int):
        raise CompactHydraException(f"hydra.launcher.slots_per_gpu must be a number or {AUTO}, got {slots_per_gpu}")
    grows, slots_per_gpu = slots_per_gpu == AUTO, 1 if isinstance(slots_per_gpu, str) else slots_per_gpu
    _check_at_least(1, slots_per_gpu=slots_per_gpu)
    if num_slots == CORES:
        num_slots = None if gpus and gpus_per_trial else max(1, num_cores() // num_processes)
    elif num_slots is not None:
        if not isinstance(num_slots, int):
            raise CompactHydraException(f"hydra.launcher.num_slots must be a number, {CORES} or null, got {num_slots}")
        _check_at_least(1, num_slots=num_slots)
    if not gpus:
        return [{} for _ in range(num_slots or 1)]
    if gpus_per_trial == 0:
        return [{"CUDA_VISIBLE_DEVICES": ""} for _ in range(num_slots or 1)]
    if gpus_per_trial > len(gpus):
        raise CompactHydraException(
            f"hydra.launcher.gpus_per_trial must be at most {len(gpus)}, the visible GPUs, got {gpus_per_trial}"
        )
    if num_processes > gpus_per_trial:
        raise CompactHydraException(
            f"{num_processes} processes cannot share {gpus_per_trial} GPU: raise hydra.launcher.gpus_per_trial, lower "
            "hydra.launcher.processes_per_trial, or set hydra.launcher.gpus_per_trial=0 for the CPU"
        )
    as_many = len(gpus) * slots_per_gpu // gpus_per_trial
    num_slots = min(num_slots or as_many, as_many) if grows else num_slots or as_many
    if num_slots * gpus_per_trial > len(gpus) * slots_per_gpu:
        needed = math.ceil(num_slots * gpus_per_trial / len(gpus))
        raise CompactHydraException(
            f"{num_slots} slots of {gpus_per_trial} GPU need more than the {len(gpus)} that are visible: "
            f"lower hydra.launcher.num_slots, or let trials share with hydra.launcher.slots_per_gpu={needed}"
        )
    return [
        {"CUDA_VISIBLE_DEVICES": ",".join(gpus[(slot * gpus_per_trial + i) % len(gpus)] for i in range(gpus_per_trial))}
        for slot in range(num_slots)
    ]


def processes_of_trial(processes_per_trial: int | None, gpus_per_trial: int) -> int:
    """Number of processes of each job: `processes_per_trial`, by default one per GPU of the job."""
    if processes_per_trial is not None:
        _check_at_least(1, processes_per_trial=processes_per_trial)
    return processes_per_trial or max(1, gpus_per_trial)


def process_environments(num_processes: int) -> list[dict[str, str]]:
    """For each process of a job, the variables that torchrun would set; none if the job is a single process."""
    if num_processes == 1:
        return [{}]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    size = str(num_processes)
    shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(num_processes)]


def threads_per_process(num_slots: int, num_processes: int, threads_per_trial: int | None) -> int:
    """Number of threads of each process, at least 1: by default the slots divide the launcher's cores."""
    if threads_per_trial is not None:
        _check_at_least(1, threads_per_trial=threads_per_trial)
    return max(1, (threads_per_trial or num_cores() // num_slots) // num_processes)


def _check_at_least(least: int, **setting: int) -> None:
    ((name, value),) = setting.items()
    if value < least:
        raise CompactHydraException(f"hydra.launcher.{name} must be at least {least}, got {value}")


def num_cores() -> int:
    """The cores that this process may use; all of the machine's if the system (macOS) cannot limit a process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
