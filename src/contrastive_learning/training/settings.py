"""The settings of training, and the values of its schedules at a given time."""

import math
from dataclasses import dataclass

from contrastive_learning.choices import check_choice
from contrastive_learning.training.averages import WEIGHT_AVERAGES

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
STEADINESS = ("end", "each_epoch", "never")
TEMPERATURE_SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """What the `trainer` node of a config sets; conf/trainer/default.yaml has the defaults.

    The schedules are functions of `epochs_done`, the epochs finished so far with fractions for batches: `lambda_scale`
    and `encoder_share` in 0..1, `temperature` in the unit of loss.temperature.
    """

    epochs: int
    precision: str  # auto, fp32, bf16, fp16
    device: str  # auto, cpu, cuda, mps
    max_grad_norm: float
    accumulation_steps: int
    tokens_per_pass: int | None  # tokens per pass of the encoder, see passes.py; None = the whole batch
    grad_cache_chunk: int | None  # rows per pass of the encoder, see grad_cache.py; None = the whole batch
    compile: bool | str  # torch.compile on the encoder; auto = on a GPU, if it pays; graphs: see model/compiling.py
    lambda_warmup_epochs: float  # all weights of the loss rise linearly from 0 over this many epochs
    encoder_share_warmup_epochs: float  # likewise the part of the contrastive gradient that reaches the encoder
    temperature_schedule: str  # constant, or linear or cosine from loss.temperature to temperature_end
    temperature_end: float | None
    monitor: str  # the metric that picks the best epoch
    direction: str  # of monitor: maximize, minimize
    patience: int | None  # epochs without a better monitor before training stops; None = never
    held_out_each_epoch: bool  # False: the test sets are evaluated only at the end
    seed: int
    report_every: int | None = None  # optimizer steps from report to report within an epoch; None = none within it
    steadiness: str = "end"  # when split votes are judged again, see steadiness.py: end, each_epoch or never
    views: int = 1  # dropout views of each response in training; 2: each step encodes every response twice
    unjudged_share: float = 0.5  # unjudged responses that each batch gets per judged one, if a term can use them
    weight_average: str = "none"  # ema or tail: the averaged weights are evaluated and kept, see averages.py
    padding_free: bool | None = False  # batches in one row if the encoder can, see model/packed.py; None = on CPUs
    keep_checkpoints: bool = True  # False: `discard_checkpoints` deletes them
    resume_from: str | None = None  # output folder of an interrupted run

    def __post_init__(self) -> None:
        check_choice("trainer.precision", self.precision, PRECISIONS)
        check_choice("trainer.direction", self.direction, ("maximize", "minimize"))
        check_choice("trainer.steadiness", self.steadiness, STEADINESS)
        if self.padding_free not in (True, False, None):
            raise ValueError(f"trainer.padding_free must be true, false or null, got {self.padding_free}")
        self._check_compile()
        check_choice("trainer.weight_average", self.weight_average, WEIGHT_AVERAGES)
        check_choice("trainer.temperature_schedule", self.temperature_schedule, TEMPERATURE_SCHEDULES)
        least_values = {
            "epochs": 1,
            "accumulation_steps": 1,
            "tokens_per_pass": 1,
            "grad_cache_chunk": 1,
            "patience": 1,
            "report_every": 1,
        }
        least_values |= {"lambda_warmup_epochs": 0, "encoder_share_warmup_epochs": 0}
        for name, least in least_values.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"trainer.{name} must be at least {least}, got {value}")
        if not self.max_grad_norm > 0:
            raise ValueError(f"trainer.max_grad_norm must be positive, got {self.max_grad_norm}")
        if not 0 <= self.unjudged_share < math.inf:
            raise ValueError(f"trainer.unjudged_share must be at least 0, got {self.unjudged_share}")
        if self.views not in (1, 2):
            raise ValueError(f"trainer.views must be 1 or 2, got {self.views}")
        if self.report_every is not None and not self.monitor.startswith("val/"):
            raise ValueError(f"trainer.report_every needs a trainer.monitor on val/, got {self.monitor}")
        self._check_temperature()
        if self.grad_cache_chunk is not None and self.accumulation_steps > 1:
            raise ValueError(
                "trainer.grad_cache_chunk makes large batches exact; raise sampler.batch_size and leave "
                f"trainer.accumulation_steps at 1, got {self.accumulation_steps}"
            )

    def _check_compile(self) -> None:
        if self.compile not in (True, False, "auto", "graphs"):
            raise ValueError(f"trainer.compile must be true, false, auto or graphs, got {self.compile}")
        if self.grad_cache_chunk is not None and self.compile in (True, "graphs"):
            raise ValueError(
                f"trainer.compile={str(self.compile).lower()} draws different dropout masks with and without a "
                "gradient, but trainer.grad_cache_chunk needs equal ones; use only one of them"
            )
        if self.compile == "graphs" and (self.padding_free or self.tokens_per_pass is not None):
            raise ValueError(
                "trainer.compile=graphs needs batches of few shapes, each in one pass: leave trainer.padding_free and "
                "trainer.tokens_per_pass at null"
            )

    def check_device(self, kind: str) -> None:
        """Raises ValueError for what a device of this kind (cpu, cuda, mps) cannot do."""
        if self.compile == "graphs" and kind != "cuda":
            raise ValueError(f"trainer.compile=graphs needs a CUDA device, got {kind}; use false or auto")

    def _check_temperature(self) -> None:
        changes = self.temperature_schedule != "constant"
        if changes and (self.temperature_end is None or not self.temperature_end > 0):
            raise ValueError(
                f"trainer.temperature_schedule={self.temperature_schedule} needs a positive trainer.temperature_end, "
                f"got {self.temperature_end}"
            )
        if not changes and self.temperature_end is not None:
            raise ValueError("trainer.temperature_end has no effect with trainer.temperature_schedule=constant")

    def reports_per_epoch(self, num_steps: int) -> int:
        """How often a run of `num_steps` optimizer steps per epoch reports in each: the last time at its end.

        Raises ValueError if `report_every` is more than that.
        """
        if self.report_every is None:
            return 1
        if self.report_every > num_steps:
            raise ValueError(
                f"trainer.report_every must be at most {num_steps}, the optimizer steps of an epoch, "
                f"got {self.report_every}"
            )
        return num_steps // self.report_every

    def report_within(self, step: int, num_steps: int) -> int | None:
        """Which report of the epoch, from 1, is due after its step `step`; None if none is, or the epoch ends first."""
        if self.report_every is None or step % self.report_every:
            return None
        number = step // self.report_every
        return number if number < self.reports_per_epoch(num_steps) else None

    def lambda_scale(self, epochs_done: float) -> float:
        return _ramp(epochs_done, self.lambda_warmup_epochs)

    def encoder_share(self, epochs_done: float) -> float:
        return _ramp(epochs_done, self.encoder_share_warmup_epochs)

    def temperature(self, start: float, epochs_done: float) -> float:
        """From `start`, which is loss.temperature, to `temperature_end` at the end of the last epoch."""
        if self.temperature_end is None:
            return start
        done = epochs_done / self.epochs
        weight = done if self.temperature_schedule == "linear" else (1 - math.cos(math.pi * done)) / 2
        return start + weight * (self.temperature_end - start)


def _ramp(epochs_done: float, epochs: float) -> float:
    return min(1.0, epochs_done / epochs) if epochs > 0 else 1.0
