import pyarrow as pa

from contrastive_app.judge.measured import measured


def test_a_single_response_is_counted_as_one():
    columns = {"domain": ["travel"], "yes_votes": [[1]], "num_votes": [[1]], "probability/a": [0.9]}
    (table,) = measured([pa.table(columns)], {"criteria": ["a"], "thresholds": [0.5]})
    assert str(table.title).startswith("1 response with votes, per criterion")
