"""Which epoch is the best, and what is kept of it and of the last one: checkpoints, or without a folder its weights."""

from pathlib import Path

from torch import Tensor, nn

from contrastive_learning.runtime.interrupts import HeldSignals
from contrastive_learning.training.background import Background
from contrastive_learning.training.epoch import RunningEpoch
from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.state import TrainingState


class Keeper:
    """Writes checkpoints in the `background`, after what has been given to that before.

    beside: training continues while a checkpoint is written, from a copy of the state.
    """

    def __init__(self, state: TrainingState, folder: Path | None, settings: TrainerSettings, *, beside: bool) -> None:
        self.best: tuple[int, float] | None = None  # (epoch, monitored value)
        self.background, self.beside = Background(), beside
        self._state, self._folder, self._settings = state, folder, settings
        self._weights: dict[str, Tensor] = {}  # of the best epoch, without a folder

    def keep(self, epoch: int, value: float, evaluated: nn.Module) -> None:
        """After `epoch`, whose monitored value belongs to the weights of `evaluated`."""
        sign = 1 if self._settings.direction == "maximize" else -1
        better = self.best is None or sign * value > sign * self.best[1]
        if better:
            self.best = (epoch, value)
        if self._folder is not None:
            self._state.note_random_states()
            progress = {"epoch": epoch, "best": list(self.best or ()), "running": None}
            save = self._state.saving(self._folder, f"epoch_{epoch:03d}", progress, best=better, copied=self.beside)
            self.background.do(save)  # after the hook: an epoch that was not drawn is not saved, but repeated
        elif better:
            self._weights = {name: weight.detach().clone() for name, weight in evaluated.state_dict().items()}
        if not self.beside:
            self.background.wait()

    def keep_running(self, running: RunningEpoch | None) -> None:
        """A checkpoint after the last batch whose step is done; without the other processes, which may have ended."""
        if self._folder is None or running is None or running.order is None or running.num_done == 0:
            return
        name = f"epoch_{running.epoch + 1:03d}_batch_{running.num_done}"
        progress = {"epoch": running.epoch, "best": list(self.best or ()), "running": running.state()}
        with HeldSignals():
            self.background.wait()
            self._state.saving(self._folder, name, progress, best=False)()

    def restore_best(self, model: nn.Module) -> None:
        """Load the weights of the best epoch."""
        if self._folder is not None:
            self._state.load_best_weights(self._folder)
        else:
            model.load_state_dict(self._weights)

    def out_of_patience(self, epoch: int) -> bool:
        patience = self._settings.patience
        return patience is not None and self.best is not None and epoch - self.best[0] >= patience
