"""What a computation asks its device, and so would wait for on a GPU."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "unique_dim", "equal")


class Questions(TorchDispatchMode):
    """Notes, while it is on, each operation whose result the CPU must read. `tolist` of a tensor on the CPU is none."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ASKING:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))
