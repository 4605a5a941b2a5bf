from contrastive_learning.training.progress import BELOW_ZERO, results_table


def test_an_interval_stands_below_its_figure():
    metrics = {"val/f1/a": 0.6, "val/auroc/a": 0.7, "test/f1/a": 0.5, "test/auroc/a": 0.5, "val/macro_f1": 0.6}
    intervals = {"val/f1/a": (0.41, 0.782), "val/macro_f1": (0.5, 0.7)}
    table = results_table(metrics, ["a"], ["val", "test"], heading="Best epoch 1 of 2", intervals=intervals)
    names, val, test = (list(column.cells) for column in table.columns)
    assert names[:4] == ["a", "  95 % of F1", "mean", "  95 % of F1"]
    assert val[:4] == ["0.600 / 0.700", "0.410-0.782", "0.600 / -", "0.500-0.700"]
    assert test[:4] == ["0.500 / 0.500", "", "- / -", ""]


def test_a_brier_score_below_zero_is_explained():
    tables = [
        results_table({"val/brier": 0.01, "test/brier": brier}, [], ["val", "test"], heading="Best epoch 1 of 2")
        for brier in (0.02, -0.012)
    ]
    assert [table.caption for table in tables] == [None, BELOW_ZERO]
