"""Every metric of a run in a table, and the few that MLflow shows."""

import pyarrow.parquet as pq
import pytest

from contrastive_learning.tracking import MetricsTable, MlflowTracking, NoTracking
from contrastive_learning.tracking.headline import HEADLINE

EPOCH = {"train/total_loss": 0.6, "val/macro_f1": 0.5, "val/embedding/silhouette/a/b": 0.1, "judge/weight/b": 0.9}


def rows_of(file):
    return pq.read_table(file).to_pylist()


def tracking(**changes):
    settings = {"experiment": "x", "log_model": False, "register": None, "system_metrics": False}
    return MlflowTracking(uri="sqlite:///unused.db", **settings | changes)


def test_each_value_is_a_row_with_its_split_and_criterion(tmp_path):
    table = MetricsTable(tmp_path / "metrics.parquet", ["b", "a/b"])
    table.add(EPOCH, 1)
    table.add({"test_ood/f1/b": 0.25}, 1, final=True)
    rows = rows_of(table.file)
    places = [(row["split"], row["metric"], row["criterion"]) for row in rows]
    assert places == [
        ("train", "total_loss", None),
        ("val", "macro_f1", None),
        ("val", "embedding/silhouette", "a/b"),
        (None, "judge/weight", "b"),
        ("test_ood", "f1", "b"),
    ]
    assert [row["name"] for row in rows] == [*EPOCH, "test_ood/f1/b"]
    assert [row["final"] for row in rows] == [False] * 4 + [True]
    assert rows[-1]["value"] == 0.25


def test_a_run_that_continues_keeps_the_epochs_that_it_had_ended(tmp_path):
    file = tmp_path / "metrics.parquet"
    before = MetricsTable(file, ["b"])
    for epoch in range(4):
        before.add({"val/macro_f1": epoch / 10}, epoch)
    before.add({"val/macro_f1": 0.9}, 1, final=True)
    after = MetricsTable(file, ["b"], epochs_done=2)
    after.add({"val/macro_f1": 0.7}, 3)
    assert [(row["epoch"], row["value"]) for row in rows_of(file)] == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.7)]
    anew = MetricsTable(file, ["b"])
    anew.add({"val/macro_f1": 0.8}, 0)
    assert len(rows_of(file)) == 1


def test_a_damaged_table_is_one_line_that_tells_what_to_do(tmp_path):
    file = tmp_path / "metrics.parquet"
    file.write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match=r"metrics\.parquet is damaged: remove it, to continue without"):
        MetricsTable(file, ["b"], epochs_done=1)


def test_the_store_gets_headline_metrics_and_objectives_or_all():
    assert 20 <= len([name for name in HEADLINE if "linear" not in name]) <= 30
    metrics = {"val/macro_f1": 0.5, "val/ece": 0.1, "val/f1/b": 0.25}
    assert list(tracking(metrics="headline").chosen(metrics, ["val/f1/b", "val/auroc"])) == ["val/f1/b", "val/macro_f1"]
    assert list(tracking(metrics="all").chosen(metrics, ["val/ece"])) == ["val/ece", "val/macro_f1", "val/f1/b"]
    assert NoTracking().chosen(metrics, ["val/ece"]) == {}
    with pytest.raises(ValueError, match=r"^tracking\.metrics must be one of headline, all; got every"):
        tracking(metrics="every")
