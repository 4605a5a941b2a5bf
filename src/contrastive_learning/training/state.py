"""Saves and loads everything that training changes: weights, optimizer, schedule, random state of each process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from contrastive_learning.runtime.devices import RandomState, random_state, set_random_state
from contrastive_learning.runtime.processes import rank
from contrastive_learning.training.averages import WeightAverage
from contrastive_learning.training.checkpoints import (
    AVERAGED,
    WEIGHTS,
    has_averaged,
    load_state,
    load_weights,
    save_checkpoint,
)


class TrainingState:
    """The parts whose state a checkpoint holds. The epoch's own state comes and goes as `progress`."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        average: WeightAverage | None = None,
    ) -> None:
        self.accelerator, self.model, self.optimizer, self.scheduler = accelerator, model, optimizer, scheduler
        self.average = average
        self._random_states: list[RandomState] = []  # of each process

    def note_random_states(self) -> None:
        """Collect the random state of every process, so that the main one can save them without the others.

        All processes must call this together.
        """
        self._random_states = gather_object([random_state(self.accelerator.device)])

    def restore_random_state(self) -> None:
        """Set the random state that was noted or loaded last. If there are more processes than were noted, the
        additional ones keep the state that their seed gave them.
        """
        if rank() < len(self._random_states):
            set_random_state(self._random_states[rank()], self.accelerator.device)

    def saving(
        self, folder: Path, name: str, progress: dict[str, Any], *, best: bool, copied: bool = False
    ) -> Callable[[], None]:
        """Returns what writes a checkpoint, in the main process only: of the state as it now is if it is `copied` to
        the memory of the CPU, else of the state as it then is.

        progress: how far training got, made of numbers, tensors, lists and dicts. The writing raises ValueError if it
        fails.
        """
        if not self.accelerator.is_main_process:
            return _nothing
        scaler = self.accelerator.scaler
        state = progress | {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "random_states": self._random_states,
        }
        weights = {WEIGHTS: self.accelerator.unwrap_model(self.model).state_dict()}
        if self.average is not None:
            state["num_averaged"] = self.average.num_averaged
            if self.average.model is not None:
                weights[AVERAGED] = self.average.model.state_dict()
        if copied:
            weights, state = _copied(weights), _copied(state)
        return partial(save_checkpoint, folder, name, weights, state, best=best)

    def load(self, folder: Path) -> dict[str, Any]:
        """Load the last checkpoint. Returns the `progress` that was saved with it."""
        load_weights(folder, "last", self.accelerator.unwrap_model(self.model))
        progress = load_state(folder)
        self.optimizer.load_state_dict(progress.pop("optimizer"))
        self.scheduler.load_state_dict(progress.pop("scheduler"))
        scaler = progress.pop("scaler")
        if scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)
        num_averaged = progress.pop("num_averaged", 0)
        if self.average is not None and num_averaged:
            load_weights(folder, "last", self.average.begin_again(num_averaged), AVERAGED)
        self._random_states = progress.pop("random_states")
        self.restore_random_state()
        return progress

    def load_best_weights(self, folder: Path) -> None:
        """Load the weights by which the best epoch was evaluated: the averaged ones, if there were any."""
        self.accelerator.wait_for_everyone()  # the main process may still be writing
        file_name = AVERAGED if has_averaged(folder, "best") else WEIGHTS
        load_weights(folder, "best", self.accelerator.unwrap_model(self.model), file_name)


def _copied(value: Any) -> Any:
    """The same with copies of all tensors in the memory of the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(each) for each in value)
    return value


def _nothing() -> None:
    pass
