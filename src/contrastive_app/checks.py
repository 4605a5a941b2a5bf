"""What can be known before data are read or a model is built, checked in one place, in this order.

Options (`parts.build_parts`), the record's store, the device; then, once they are read, the data; then the encoder
against the data. Each check raises ValueError: one line that says what is wrong and what to do. A sweep's preflight
makes the same checks on its first configuration.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from contrastive_app.launched import is_follower
from contrastive_app.resume import RUN_FILE

if TYPE_CHECKING:
    from contrastive_learning.tracking import Tracker


def check_before_data(tracking: "Tracker", device: str, output: Path | None = None) -> None:
    """output: the folder of the run; None for a sweep's preflight."""
    from contrastive_learning.runtime.devices import resolve_device

    if not is_follower():
        tracking.check(None if output is None else recorded_run(output))
    resolve_device(device)


def recorded_run(output: Path) -> str | None:
    """The id of the run in the record that the folder `output` belongs to; None if there is none yet."""
    file = output / RUN_FILE
    run_id = json.loads(file.read_text(encoding="utf-8"))["run_id"] if file.exists() else None
    return None if run_id is None else str(run_id)
