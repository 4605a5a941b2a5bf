"""Device and precision, through accelerate."""

import random

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import Tensor

from contrastive_learning.choices import check_choice

RandomState = tuple[Tensor, Tensor | None]  # of the CPU and, if it is used, of the CUDA device

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # in which products are computed


def accelerator(device: str, precision: str) -> Accelerator:
    """device: auto, cpu, cuda, mps; precision: auto, fp32, bf16, fp16. auto = the best available."""
    # accelerate keeps one global state per process; a second trainer may want another device or precision
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    device = resolve_device(device)
    return Accelerator(cpu=device == "cpu", mixed_precision=MIXED_PRECISION[_resolve_precision(precision, device)])


def precision_of(accelerator: Accelerator) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, mode in MIXED_PRECISION.items() if mode == accelerator.mixed_precision)


def join_processes(device: str) -> None:
    """Connect to the other processes that torchrun or accelerate launched, if there are any."""
    PartialState(cpu=resolve_device(device) == "cpu")


def leave_processes() -> None:
    """Disconnect from the other processes, if there are any."""
    PartialState().destroy_process_group()


def seed_everything(seed: int) -> None:
    """Seed what this library draws from: Python's `random` and torch on every device; samplers have their own seed."""
    random.seed(seed)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> RandomState:
    """The state from which torch draws dropout masks and shuffles on the CPU and on `device`."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def set_random_state(state: RandomState, device: torch.device) -> None:
    cpu, cuda = state
    torch.set_rng_state(cpu)
    if cuda is not None and device.type == "cuda":
        torch.cuda.set_rng_state(cuda, device)


def sent(column: Tensor, device: torch.device) -> Tensor:
    """On `device`; copied to a GPU from pinned memory: the CPU need not wait for what the GPU has to do before."""
    if device.type == "cuda" and column.device.type == "cpu":
        return column.pin_memory().to(device, non_blocking=True)
    return column.to(device)


def resolve_device(device: str) -> str:
    """The device (cpu, cuda or mps) that trainer.device asks for. Raises ValueError if torch does not find it."""
    kind = check_choice("trainer.device", device.split(":")[0], ("auto", "cpu", "cuda", "mps"))
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("trainer.device=cuda needs a CUDA device, and torch finds none; use trainer.device=auto")
    return kind


def _resolve_precision(precision: str, device: str) -> str:
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and cpu_multiplies_bf16() else "fp32"


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16: twice as fast as fp32, while torch emulates it slowly elsewhere."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
