"""What a launcher is given for one run of the task."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One run of one trial; a trial with several seeds has several."""

    trial_number: int
    index: int  # unique in the study; Hydra's job number
    seed: int | None  # None = the configuration's own
    overrides: tuple[str, ...]
    folder: Path
    is_retry: bool = False
