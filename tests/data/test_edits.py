from random import Random

import pytest

from contrastive_learning.data.edits import (
    EDITS,
    Text,
    edited,
    with_other_punctuation,
    with_other_spacing,
    without_a_particle,
    without_words_of_context,
)


@pytest.mark.parametrize(
    ("response", "expected"), [("좋아요.", "좋아요"), ("좋아요", "좋아요."), ("정말?!", "정말"), ("...", None)]
)
def test_punctuation_ends_or_does_not_end_a_response(response, expected):
    found = edited(Text([], response), with_other_punctuation, "a")
    assert (found and found.response) == expected


def test_a_blank_between_korean_words_is_left_out():
    found = {with_other_spacing(Text([], "오늘 날씨 참 good day"), Random(seed)).response for seed in range(20)}
    assert found == {"오늘날씨 참 good day", "오늘 날씨참 good day"}
    assert edited(Text([], "a good day"), with_other_spacing, "a") is None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("고양이는 잔다", "고양이 잔다"),
        ("책상을 샀다", "책상 샀다"),
        ("친구가 왔다", "친구 왔다"),
        ("물을 마셔", None),  # two syllables: as likely a word of its own
        ("마시는을 봐", "마시는 봐"),
        ("거리은 멀다", None),  # no particle: 리 ends in a vowel
        ("hello there", None),
    ],
)
def test_a_particle_that_fits_its_word_is_left_out(response, expected):
    found = edited(Text(["질문이 있어요"], response), without_a_particle, "a")
    assert (found and found.response) == expected


def test_the_context_loses_a_share_of_its_words_but_never_a_turn():
    context = ["one two three four five six seven eight nine ten", "last", "eleven twelve"]
    found = edited(Text(context, "Yes, it is."), without_words_of_context, "a")
    assert sum(len(turn.split()) for turn in found.context) == 13 - 2  # 15 % of 13
    assert all(found.context)
    assert found.response == "Yes, it is."
    assert edited(Text(["one", "two"], "Yes."), without_words_of_context, "a") is None


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_depends_on_the_key_only(edit):
    text = Text(["오늘은 날씨가 참 좋네요, 산책을 갈까요"], "강아지는 산책을 정말 좋아해요")
    assert edited(text, edit, "id-1") == edited(text, edit, "id-1")
    assert edited(text, edit, "id-1") != text
