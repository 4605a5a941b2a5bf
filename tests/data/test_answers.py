import math

import pytest

from contrastive_learning.data.answers import Answers


@pytest.mark.parametrize(
    ("yes", "no"),
    [
        (1, 0),
        (True, False),
        ("1.0", "0.0"),
        ("TRUE", "false"),
        ("Yes", " no "),
        ("y", "N"),
        ("O", "X"),
        ("예", "아니오"),
        ("네", "아니요"),
        ("그렇다", "아니다"),
        ("그렇다", "그렇지 않다"),
        ("좋음", "나쁨"),
        ("적합", "부적합"),
    ],
)
def test_words_for_yes_and_no(yes, no):
    assert Answers(None).read(yes) is True
    assert Answers(None).read(no) is False
    assert Answers(4).read("예") is True


@pytest.mark.parametrize("missing", [None, "", " ", "nan", "None", math.nan])
def test_no_answer(missing):
    assert Answers(None).read(missing) is None
    assert Answers(4).read(missing) is None


@pytest.mark.parametrize(("value", "expected"), [(5, True), ("4", True), (3.5, False), ("1", False), (True, True)])
def test_from_a_number_on_a_scale_means_yes(value, expected):
    assert Answers(4).read(value) is expected


@pytest.mark.parametrize("value", ["maybe", 2, [1], {"a": 1}, "4점"])
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"a vote must be 1/0, .* 예/아니오, .*, got "):
        Answers(None).read(value)


def test_a_number_is_refused_with_the_option_for_scales():
    with pytest.raises(
        ValueError, match=r"got '5'; for a scale say from where on it means yes: data.source.yes_from=4"
    ):
        Answers(None).read("5")
    with pytest.raises(ValueError, match="got -1; leave it empty if it means no answer, write 0 if it means no"):
        Answers(None).read(-1)
    with pytest.raises(ValueError, match="data.source.yes_from must be a number such as 4, got '4 stars'"):
        Answers("4 stars")
