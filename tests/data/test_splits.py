import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrastive_learning.data.responses import RatedResponse, VoteCount
from contrastive_learning.data.splits import SplitRules, draw_groups, make_splits

YES, NO, MOSTLY_YES = VoteCount(3, 3), VoteCount(0, 3), VoteCount(2, 3)


def rules(**settings):
    defaults = {"criteria": None, "valid_fraction": 0.1, "test_fraction": 0.1, "held_out_domains": [], "split_seed": 0}
    return SplitRules(**defaults | settings)


def response(index, *, group=None, domain="d", **votes):
    votes = votes or {"a": YES if index % 2 else NO}
    return RatedResponse(f"r{index}", domain, (f"q{index}",), f"x{index}", votes, group or f"g{index}")


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=40), seed=st.integers(0, 5), data=st.data())
def test_drawing_keeps_groups_whole_and_loses_nothing(sizes, seed, data):
    items = [
        response(f"{group}.{k}", group=f"g{group}", a=YES) for group, size in enumerate(sizes) for k in range(size)
    ]
    fractions = {"valid": 0.1, "test": 0.2}
    drawn = draw_groups(items, "train", fractions, seed)
    homes = {split: {item.group for item in part} for split, part in drawn.items()}
    assert sorted(item.id for part in drawn.values() for item in part) == sorted(item.id for item in items)
    assert sum(map(len, homes.values())) == len(sizes)
    assert homes["train"]
    assert bool(homes["valid"]) == (len(sizes) > 1)
    assert len(drawn["test"]) <= round(0.2 * len(items))
    again = draw_groups(data.draw(st.permutations(items)), "train", fractions, seed)
    assert {split: {item.group for item in part} for split, part in again.items()} == homes


def test_shares_are_of_responses_and_one_huge_group_stays_in_train():
    items = [response(i, group="huge" if i < 500 else f"g{i}") for i in range(1000)]
    drawn = draw_groups(items, "train", {"valid": 0.1, "test": 0.1}, 0)
    assert {split: len(part) for split, part in drawn.items()} == {"train": 800, "valid": 100, "test": 100}


def test_another_seed_draws_others_and_test_does_not_move_with_valid_fraction():
    items = [response(i) for i in range(100)]
    first, second = (draw_groups(items, "train", {"valid": 0.1, "test": 0.1}, seed)["test"] for seed in (0, 1))
    assert first != second
    assert draw_groups(items, "train", {"valid": 0.3, "test": 0.1}, 0)["test"] == first


def test_a_missing_test_is_drawn_where_it_is_told():
    parts = {"train": [response(i) for i in range(80)], "valid": [response(i) for i in range(80, 100)]}
    from_valid = make_splits(parts, rules(test_fraction=0.3), ["a"], [], test_from="valid")
    assert [len(from_valid.train), len(from_valid.valid), len(from_valid.test)] == [80, 5, 15]
    from_train = make_splits(parts, rules(), ["a"], [])
    assert [len(from_train.train), len(from_train.valid), len(from_train.test)] == [72, 20, 8]


def test_no_test_is_made_without_a_fraction():
    splits = make_splits({"train": [response(i) for i in range(20)]}, rules(test_fraction=0), ["a"], [])
    assert splits.test == []
    assert "test is empty: test_fraction=0" in splits.remarks


def test_too_few_conversations_leave_test_empty_and_say_so():
    splits = make_splits({"train": [response(i, group=f"g{i // 2}") for i in range(4)]}, rules(), ["a"], [])
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [2, 2, 0]
    assert "test is empty: too few conversations for test_fraction=0.1" in splits.remarks


def test_held_out_domains_leave_every_split():
    parts = {
        split: [
            response(f"{split}{i}", domain=domain, a=vote)
            for i, domain, vote in ((0, "d", YES), (1, "e", NO), (2, "d", NO))
        ]
        for split in ("train", "valid", "test", "test_ood")
    }
    splits = make_splits(parts, rules(held_out_domains=["e"]), ["a"], [])
    assert [len(splits.train), len(splits.valid), len(splits.test), len(splits.test_ood)] == [2, 2, 2, 6]
    assert "test_ood: train holds its domain d too, so it does not measure new domains" in splits.remarks
    with pytest.raises(ValueError, match="held_out_domains must be one of d, e; got f"):
        make_splits(parts, rules(held_out_domains=["f"]), ["a"], [])


def test_a_group_in_two_splits_stays_in_the_later_one():
    twice = [response(i, group="g") for i in range(100, 104)]
    parts = {
        "train": [*map(response, range(10)), twice[0]],
        "valid": [*map(response, range(10, 15)), twice[1]],
        "test": twice[2:],
    }
    splits = make_splits(parts, rules(), ["a"], [])
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [10, 5, 2]
    assert "valid: 1 responses left out: the same conversation is in test too, such as r101" in splits.remarks


def test_what_moves_to_test_ood_is_not_there_twice():
    again = response(3, domain="e")
    parts = {
        "train": [response(i, domain="e" if i == 3 else "d") for i in range(10)],
        "valid": [again, *map(response, (10, 11))],
    }
    splits = make_splits(parts, rules(held_out_domains=["e"], test_fraction=0), ["a"], [])
    assert splits.test_ood == [again]


def test_criteria_keep_their_order_and_unknown_ones_name_the_nearest():
    parts = {"train": [response(i, a=YES if i % 2 else NO, b=NO if i % 2 else YES) for i in range(20)]}
    assert make_splits(parts, rules(criteria=["b", "a"]), ["a", "b"], []).criteria == ("b", "a")
    assert make_splits(parts, rules(), ["a", "b"], []).criteria == ("a", "b")
    with pytest.raises(
        ValueError, match=r"data.source.criteria must be one of harmlessness, b; got hamless \(did you mean"
    ):
        make_splits(parts, rules(criteria=["hamless"]), ["harmlessness", "b"], [])


def test_a_class_that_train_lacks_is_named_with_the_criteria_that_remain():
    parts = {"train": [response(i, a=YES, b=NO, c=YES if i % 2 else NO, d=NO if i % 2 else YES) for i in range(20)]}
    with pytest.raises(
        ValueError, match=r"got only yes on a and only no on b; leave them out with data.source.criteria=\[c,d\]"
    ):
        make_splits(parts, rules(), ["a", "b", "c", "d"], [])
    with pytest.raises(ValueError, match="got only yes on a; there is nothing to learn"):
        make_splits(parts, rules(criteria=["a"]), ["a", "b"], [])


def test_votes_on_both_sides_but_one_majority_are_remarked():
    splits = make_splits({"train": [response(i, a=MOSTLY_YES) for i in range(20)]}, rules(), ["a"], [])
    assert "train: every response has more yes than no on a" in splits.remarks


def test_a_tie_counts_as_no():
    splits = make_splits({"train": [response(i, a=VoteCount(1, 2)) for i in range(20)]}, rules(), ["a"], [])
    assert "train: no response has more yes than no on a" in splits.remarks


def test_one_conversation_cannot_be_divided():
    with pytest.raises(ValueError, match=r"valid must hold responses, got none \(train 4 responses in 1 groups\)"):
        make_splits({"train": [response(i, group="g") for i in range(4)]}, rules(), ["a"], [])
    with pytest.raises(ValueError, match=r"got none \(train 1 responses in 1 groups\); two responses are the least"):
        make_splits({"train": [response(0)]}, rules(), ["a"], [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"valid_fraction": 0}, "valid_fraction must be above 0 and below 1, got 0"),
        ({"test_fraction": -0.1}, "test_fraction must be at least 0 and leave room .*, got -0.1"),
        ({"test_fraction": 0.9}, "test_fraction must be at least 0 and leave room .*, got 0.9"),
        ({"criteria": []}, r"criteria must be a list of different names such as \[a,b\], got \[\]"),
        ({"criteria": "ab"}, "criteria must be a list .*, got 'ab'"),
        ({"held_out_domains": ["a", "a"]}, "held_out_domains must be a list of different names"),
    ],
)
def test_bad_settings_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=f"data.source.{message}"):
        rules(**settings)
