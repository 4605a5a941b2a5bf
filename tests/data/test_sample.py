"""The sample set: its promises on sizes, groups, vocabulary and votes, and what a response alone gives away."""

import re
import time
from statistics import mean

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline, make_union

from contrastive_learning.data.sample import SampleData
from contrastive_learning.data.sample.facts import QUANTITIES, STANCES
from contrastive_learning.data.sample.particles import close_particles, count_open
from contrastive_learning.data.sample.phrases import HARM, WRONG_ENDINGS
from contrastive_learning.data.sample.topics import TOPICS

HELD_OUT = "여행, 여가, 취미"
SIZES = {"train_size": 2000, "valid_size": 400, "test_size": 400, "test_ood_size": 400}
SPLITS = ("train", "valid", "test", "test_ood")
CRITERIA = (
    "linguistic_acceptability",
    "consistency",
    "interestingness",
    "unbias",
    "harmlessness",
    "no_hallucination",
    "understandability",
    "sensibleness",
    "specificity",
)


def sample(**changes):
    return SampleData(**SIZES | {"held_out_topic": HELD_OUT, "seed": 0} | changes)


@pytest.fixture(scope="module")
def splits():
    return sample().load()


@pytest.fixture(scope="module")
def rows(splits):
    return [item for split in SPLITS for item in getattr(splits, split)]


def test_loads_fast_and_always_the_same(splits):
    start = time.process_time()
    again = sample().load()
    assert time.process_time() - start < 5.0  # of the CPU; a fifth of that where nothing else runs
    assert again == splits
    assert sample(seed=1).load().train[0] != splits.train[0]


def test_first_response_is_the_same_on_every_machine(splits):
    """A constant, so that another Python, platform or hash seed that changes the data is noticed."""
    first = splits.train[0]
    assert (first.id, first.group, first.domain) == ("sample-000000", "dialogue-000000", "기술과학")
    assert first.response == (
        "아까처럼 연휴 일정을 권하고 싶어요. "
        "정확히 예산 9만 원이라니 틀림없어요. "
        "서랍 상자는 정리 습관을 만들기에 좋아요. "
        "정리 고수도 처음에는 실수투성이였다는 거 아세요?"
    )


def test_other_sizes_leave_the_other_splits_alone(splits):
    smaller = sample(test_ood_size=10).load()
    assert (smaller.train, smaller.valid, smaller.test) == (splits.train, splits.valid, splits.test)
    assert smaller.test_ood == splits.test_ood[:10]


def test_fingerprint_follows_every_setting():
    assert sample().fingerprint() == sample().fingerprint()
    assert len(sample().fingerprint()) == 64
    changes = [{name: 7} for name in (*SIZES, "seed")] + [{"held_out_topic": "기술과학"}]
    assert len({sample(**change).fingerprint() for change in ({}, *changes)}) == 1 + len(changes)


def test_sizes_ids_and_criteria(splits, rows):
    assert [len(getattr(splits, split)) for split in SPLITS] == [2000, 400, 400, 400]
    assert splits.criteria == CRITERIA
    assert len({item.id for item in rows}) == len(rows)
    assert all(re.fullmatch(r"sample-\d{6}", item.id) for item in rows)
    assert all(tuple(item.votes) == CRITERIA for item in rows)
    assert {vote.total for item in rows for vote in item.votes.values()} == {3}


@pytest.mark.parametrize("held_out", TOPICS)
def test_held_out_topic_is_in_test_ood_only(held_out):
    splits = sample(train_size=400, valid_size=100, test_size=100, test_ood_size=100, held_out_topic=held_out).load()
    in_domain = [*splits.train, *splits.valid, *splits.test]
    assert {item.domain for item in in_domain} == set(TOPICS) - {held_out}
    assert {item.domain for item in splits.test_ood} == {held_out}
    texts = " ".join(text for item in in_domain for text in (*item.context, item.response))
    words = {word for subject in TOPICS[held_out].subjects for word in (subject.name, *subject.items)}
    assert not [word for word in words if re.search(rf"(?<![가-힣]){word}(?![가-힣]{{2}})", texts)]


def test_no_dialogue_in_two_splits(splits):
    groups = [{item.group for item in getattr(splits, split)} for split in SPLITS]
    assert len(set.union(*groups)) == sum(map(len, groups))
    contexts = {}
    for item in splits.train:
        assert contexts.setdefault(item.group, item.context) == item.context
    assert len(contexts) < len(splits.train)  # some dialogues have several rated responses


def test_no_text_twice(rows):
    assert len({item.response for item in rows}) == len(rows)


def num_words(item):
    return len(" ".join((*item.context, item.response)).split())


def test_contexts_are_short_dialogues(rows):
    assert {len(item.context) for item in rows} == {2, 3, 4}
    assert max(num_words(item) for item in rows) < 80


def test_held_out_texts_are_as_long(splits):
    lengths = [mean(map(num_words, getattr(splits, split))) for split in SPLITS]
    assert max(lengths) < 1.05 * min(lengths)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_votes_are_as_in_the_target_set(rows, criterion):
    yes = np.array([item.votes[criterion].yes for item in rows])
    assert 0.60 <= yes.mean() / 3 <= 0.95
    assert 0.05 <= np.isin(yes, (1, 2)).mean() <= 0.15
    assert 0.08 <= (yes <= 1).mean() <= 0.22
    assert all((yes == count).any() for count in range(4))


@pytest.mark.parametrize(
    ("first", "second"), [("interestingness", "specificity"), ("unbias", "harmlessness")], ids=lambda name: name
)
def test_related_criteria_fail_together(rows, first, second):
    yes = np.array([[item.votes[name].yes for name in (first, second)] for item in rows])
    assert np.corrcoef(yes.T)[0, 1] > 0.2


@pytest.mark.parametrize("level", [1, 2, 3])
def test_worse_texts_get_fewer_yes_votes(rows, level):
    """Rudeness, read from the text: 1 impolite, 2 insulting, 3 abusive or dangerous."""
    low, high = [(0.0, 0.05), (0.05, 0.5), (0.5, 0.95)][3 - level]
    said = [item.votes["harmlessness"].yes / 3 for item in rows if any(text in item.response for text in HARM[level])]
    assert low <= mean(said) < high


def word_errors(item):
    return sum(wrong in item.response for wrong in WRONG_ENDINGS.values())


def test_more_wrong_endings_get_fewer_yes_votes(rows):
    votes = {
        count: mean(item.votes["linguistic_acceptability"].yes for item in rows if word_errors(item) == count)
        for count in range(3)
    }
    assert votes[0] > votes[1] > votes[2]


def found(phrases, text):
    """Those of `phrases` that start a word of `text`."""
    return {phrase for phrase in phrases if re.search(rf"(?<![가-힣]){phrase}", text)}


def mismatch(item, phrases):
    return not found(phrases, item.response) & found(phrases, " ".join(item.context))


STANCE_PHRASES = [slot.fill(value) for slot in STANCES for value in slot.values]
QUANTITY_PHRASES = [slot.fill(value) for slot in QUANTITIES for value in slot.values]
SUBJECT_WORDS = [subject.name for topic in TOPICS.values() for subject in topic.subjects]
CONTEXTUAL = {
    "consistency": STANCE_PHRASES,
    "no_hallucination": QUANTITY_PHRASES,
    "sensibleness": SUBJECT_WORDS,
}


def fails(items, criterion):
    return np.array([item.votes[criterion].yes < 2 for item in items])


def bags_of_words(splits, text_of):
    """TF-IDF of words, pairs of words, and characters within words: of train, and of valid and test together."""
    union = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=3),
    )
    train = union.fit_transform([text_of(item) for item in splits.train])
    return train, union.transform([text_of(item) for item in [*splits.valid, *splits.test]])


@pytest.fixture(scope="module")
def response_bags(splits):
    return bags_of_words(splits, lambda item: item.response)


@pytest.fixture(scope="module")
def dialogue_bags(splits):
    return bags_of_words(splits, lambda item: " ".join((*item.context, item.response)))


def linear_auroc(splits, bags, criterion):
    train, held_out = bags
    model = make_pipeline(LogisticRegression(class_weight="balanced", C=1.0, solver="liblinear"))
    model.fit(train, fails(splits.train, criterion))
    return roc_auc_score(fails([*splits.valid, *splits.test], criterion), model.decision_function(held_out))


@pytest.mark.parametrize("criterion", CONTEXTUAL)
def test_contextual_failures_look_normal_alone(splits, response_bags, criterion):
    assert linear_auroc(splits, response_bags, criterion) < 0.60


@pytest.mark.parametrize("criterion", CONTEXTUAL)
def test_contextual_failures_need_more_than_the_words_of_a_dialogue(splits, dialogue_bags, criterion):
    assert linear_auroc(splits, dialogue_bags, criterion) < 0.80


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name not in CONTEXTUAL])
def test_other_failures_show_in_the_response(splits, response_bags, criterion):
    assert linear_auroc(splits, response_bags, criterion) > 0.75


@pytest.mark.parametrize("criterion", CONTEXTUAL)
@pytest.mark.parametrize("split", ["test", "test_ood"])
def test_contextual_failures_show_against_the_context(splits, split, criterion):
    items = getattr(splits, split)
    oracle = [mismatch(item, CONTEXTUAL[criterion]) for item in items]
    assert roc_auc_score(fails(items, criterion), oracle) > 0.9


@pytest.mark.parametrize("criterion", CONTEXTUAL)
def test_context_alone_does_not_tell_either(splits, criterion):
    """A context with a good and a bad response: its own words cannot say which."""
    verdicts = {}
    for item in splits.train:
        verdicts.setdefault(item.group, set()).add(item.votes[criterion].yes >= 2)
    assert sum(len(kinds) == 2 for kinds in verdicts.values()) > 50


@pytest.mark.parametrize(
    ("text", "right", "wrong"),
    [
        ("커피(을) 마셔요.", "커피를 마셔요.", "커피을 마셔요."),
        ("등산(이) 좋아요.", "등산이 좋아요.", "등산가 좋아요."),
        ("논어(은) 쉬워요.", "논어는 쉬워요.", "논어은 쉬워요."),
        ("석 달(으로) 해요.", "석 달로 해요.", "석 달으로 해요."),
        ("3만 원(으로) 해요.", "3만 원으로 해요.", "3만 원로 해요."),
        ("10분(이라)고 했어요.", "10분이라고 했어요.", "10분라고 했어요."),
        ("친구(과) 가요.", "친구와 가요.", "친구과 가요."),
    ],
)
def test_particles_follow_the_final_sound(text, right, wrong):
    assert count_open(text) == 1
    assert close_particles(text) == right
    assert close_particles(text, wrong={0}) == wrong


def test_no_particle_or_slot_stays_open(rows):
    texts = [text for item in rows for text in (*item.context, item.response)]
    assert not [text for text in texts if re.search(r"[(){}]|\s\s|^\s|\s$", text)]


def test_well_written_responses_have_right_particles(rows):
    """Of the nouns that end in a consonant, none takes 를 or 는 where all three annotators see no error."""
    nouns = "시간|일정|방식|모임|한국사|철학|코딩|드론|저축|주식"
    wrong = re.compile(r"(?:시간|일정|방식|모임|철학|코딩|드론|저축|주식)(?:를|는|가|로)(?= )")
    good = [item for item in rows if item.votes["linguistic_acceptability"].yes == 3]
    assert sum(bool(re.search(nouns, item.response)) for item in good) > 1000
    assert mean(bool(wrong.search(item.response)) for item in good) < 0.02  # one slight error may pass
    assert not [turn for item in rows for turn in item.context if wrong.search(turn)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_size": 0}, "train_size must be between 1 and 50000, got 0"),
        ({"valid_size": -5}, "valid_size must be between 1 and 50000, got -5"),
        ({"test_size": -1}, "test_size must be between 0 and 50000, got -1"),
        ({"test_ood_size": 10**9}, "test_ood_size must be between 0 and 50000, got 1000000000"),
        ({"held_out_topic": "기술 과학"}, r"held_out_topic must be one of 인문 사회, .*did you mean 기술과학\?"),
    ],
)
def test_refuses_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        sample(**changes)


def test_test_splits_may_be_empty():
    splits = sample(train_size=1, valid_size=1, test_size=0, test_ood_size=0).load()
    assert (len(splits.train), len(splits.valid), splits.test, splits.test_ood) == (1, 1, [], [])
