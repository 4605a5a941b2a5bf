"""Every metric of a run in one Parquet file, one value per row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = ("train", "val", "test", "test_ood")  # as metrics call them
SCHEMA = pa.schema(
    {
        "name": pa.string(),  # as MLflow has it: val/f1/consistency
        "split": pa.string(),  # val; null of what belongs to no split
        "metric": pa.string(),  # f1
        "criterion": pa.string(),  # consistency; null of what is of all criteria
        "epoch": pa.int32(),
        "value": pa.float64(),
        "final": pa.bool_(),  # of the whole judge with the weights that were kept, whose epoch it has
    }
)


class MetricsTable:
    """The metrics of a run in `file`, which is whole after each `add`.

    epochs_done: of the interrupted run that continues; its rows up to that epoch stay. None: a new run.

    Raises ValueError if the file of the interrupted run is damaged.

    >>> import tempfile
    >>> table = MetricsTable(Path(tempfile.mkdtemp(), "metrics.parquet"), ["empathy"])
    >>> table.add({"val/auroc": 0.75, "val/f1/empathy": 0.5}, epoch=1)
    >>> pq.read_table(table.file, columns=["name", "criterion", "epoch"]).to_pylist()[1]
    {'name': 'val/f1/empathy', 'criterion': 'empathy', 'epoch': 1}
    """

    def __init__(self, file: Path, criteria: Sequence[str], *, epochs_done: int | None = None) -> None:
        self.file = file
        self._criteria = sorted(criteria, key=len, reverse=True)  # one may end as another does
        self._parts = [] if epochs_done is None or not file.exists() else [_read(file, epochs_done)]

    def add(self, metrics: Mapping[str, float], epoch: int, *, final: bool = False) -> None:
        """metrics: name with its split -> value. final: see SCHEMA."""
        rows = [
            {**self._place(name), "epoch": epoch, "value": value, "final": final} for name, value in metrics.items()
        ]
        self._parts.append(pa.Table.from_pylist(rows, SCHEMA))
        temporary = self.file.with_name(f".writing-{self.file.name}")
        pq.write_table(pa.concat_tables(self._parts), temporary)
        temporary.replace(self.file)

    def _place(self, name: str) -> dict[str, Any]:
        split = next((each for each in SPLITS if name.startswith(f"{each}/")), None)
        rest = name if split is None else name.removeprefix(f"{split}/")
        criterion = next((each for each in self._criteria if rest.endswith(f"/{each}")), None)
        metric = rest if criterion is None else rest.removesuffix(f"/{criterion}")
        return {"name": name, "split": split, "metric": metric, "criterion": criterion}


def _read(file: Path, epochs_done: int) -> pa.Table:
    try:
        table = pq.read_table(file, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{file} is damaged: remove it, to continue without the metrics of earlier epochs") from error
    epochs, final = table["epoch"].to_numpy(), table["final"].to_numpy()
    return table.filter((epochs <= epochs_done) & ~final)
