"""What can be known before data are read or a model is built, checked in one place, in this order.

Options (`parts.build_parts`), the record's store, the device, the encoder with its tokenizer against data.max_length;
then, when they are read, the data against those of a run that is continued, and against the tokenizer's vocabulary
(data/tokenized.py). Each check raises ValueError: one line that says what is wrong and what to do. A sweep
checks options, encoder and files of every point, then the record's store and the device (sweep_checks.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from contrastive_app.launched import is_follower
from contrastive_app.resume import RUN_FILE, read_run

if TYPE_CHECKING:
    from contrastive_learning.tracking import Tracker
    from contrastive_learning.training import TrainerSettings


def check_places(tracking: "Tracker", settings: "TrainerSettings", output: Path | None = None) -> None:
    """The record's store, and the device with what it is to do.

    output: the folder of the run; None for a sweep's preflight.
    """
    from contrastive_learning.runtime.devices import resolve_device

    if not is_follower():
        tracking.check(None if output is None else recorded_run(output))
    settings.check_device(resolve_device(settings.device))


def check_same_data(output: Path, fingerprint: str) -> None:
    """Refuse to continue the run in `output` with other data than it began with: its record would mix two runs."""
    recorded = read_run(output).get("data")  # not in older folders
    if recorded is not None and recorded != fingerprint:
        raise ValueError(
            f"the data have changed since the run in {output} began (fingerprint {recorded[:12]}, now "
            f"{fingerprint[:12]}): restore them to continue it, or start a new run without trainer.resume_from"
        )


def recorded_run(output: Path) -> str | None:
    """The id of the run in the record that the folder `output` belongs to; None if there is none yet."""
    run_id = read_run(output, "run_id")["run_id"] if (output / RUN_FILE).exists() else None
    return None if run_id is None else str(run_id)
