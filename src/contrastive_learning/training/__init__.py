"""Training: the loop, its step, its schedules, and checkpoints that continue to the same bit.

In: a model, loaders of batches, a JointLoss, an optimizer function, TrainerSettings. Out: metrics per epoch through the
hooks, evaluations, checkpoints. It imports data, judging, losses, metrics, model, runtime and samplers;
only the application and the library's root import it.

"The same to the bit": an interrupted and resumed run ends with the same weights and metrics as an uninterrupted one.
- A signal is held until an optimizer step is done (runtime/interrupts.py), so no step is ever half saved.
- state.py saves weights (and their average, if averages.py keeps one), optimizer, schedule, scaler and the random
  state of each process; checkpoints.py writes them to a temporary folder and renames it, so that a crash leaves the
  earlier checkpoint.
- epoch.py saves what an unfinished epoch has: the order of all its batches, how many are done, its sums and statistics.
- A report within an epoch (trainer.report_every) evaluates and puts the random state back; a hook may then pause the
  run there as a signal would.
- `ContrastiveTrainer.resume` loads all of it; samplers/sharding.py then continues in the saved order after the batches
  that are done, and the random state is set again after the loader has drawn from it, so that the next dropout masks
  are those of the uninterrupted run.
With another number of processes the run continues with the same batches, but not to the bit. With a loader that has
none of our samplers, an interrupted epoch begins anew.
"""

from contrastive_learning.training.context import Hooks, Report, RunContext, TrainingPaused
from contrastive_learning.training.settings import TrainerSettings
from contrastive_learning.training.trainer import ContrastiveTrainer

__all__ = ["ContrastiveTrainer", "Hooks", "Report", "RunContext", "TrainerSettings", "TrainingPaused"]
