import pytest

from contrastive_learning.data.names import resolved


@pytest.mark.parametrize(
    ("given", "names", "meant"),
    [
        (1, ["1", "2"], "1"),
        (1, ["01", "1"], "1"),
        (2024, ["2024", "여행"], "2024"),
        (1.1, ["1.10", "1.9"], "1.10"),
        (True, ["true", "other"], "true"),
        ("여행", ["2024", "여행"], "여행"),
    ],
)
def test_names_that_look_like_numbers_are_names(given, names, meant):
    assert resolved("a name in data.source.criteria", given, names) == meant


@pytest.mark.parametrize("given", [3, 1.5, False, None, "1.0"])
def test_other_names_are_refused(given):
    with pytest.raises(ValueError, match=r"a name in data.source.criteria must be one of 1, 2; got "):
        resolved("a name in data.source.criteria", given, ["1", "2"])
