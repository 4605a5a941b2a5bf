"""Whom to ask again: with votes hidden, the list finds the cells in which these change the majority."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from contrastive_learning.data import SampleData, VotesData
from contrastive_learning.metrics import (
    chances_of_error,
    fit_concentrations,
    fit_vote_shares,
    posterior_shares,
    values_of_a_vote,
    vote_shares,
)

SHARED = Path(__file__).parents[3] / "shared/data"


def test_the_value_of_a_vote_is_the_expected_drop_of_the_chance_to_err():
    """Against the posteriors that the vote may lead to, by SciPy."""
    shares, concentrations = np.array([[0.2, 0.7], [0.5, 0.99]]), np.array([0.7, 9.0])
    yes_votes, num_votes = np.array([[0, 2], [1, 0]]), np.array([[0, 3], [2, 0]])
    cells = shares, concentrations, yes_votes, num_votes
    yes, no = concentrations * shares + yes_votes, concentrations * (1 - shares) + num_votes - yes_votes
    now, mean = beta(yes, no), yes / (yes + no)

    def error(share):
        return np.minimum(share.cdf(0.5), share.sf(0.5))

    expected = error(now) - mean * error(beta(yes + 1, no)) - (1 - mean) * error(beta(yes, no + 1))
    assert values_of_a_vote(*cells) == pytest.approx(expected + 1e-6 * mean * (1 - mean), abs=1e-12)
    assert posterior_shares(*cells) == pytest.approx(now.mean())
    wrong = chances_of_error(*cells)
    assert wrong[0, 1] == pytest.approx(now.cdf(0.5)[0, 1])  # 2 of 3 said yes
    assert np.isnan(wrong[[0, 1, 1], [0, 0, 1]]).all()  # nobody was asked, a tie, nobody was asked


def test_what_many_have_said_is_not_asked_again():
    """A split of 50 to 50 has the most uncertain next vote; it tells less than that after 1 to 1."""
    few, many, agreed = values_of_a_vote([[0.5]] * 3, [2.0], [[1], [50], [3]], [[2], [100], [3]])[:, 0]
    assert few > many > agreed > 0


def votes_of(responses, criteria):
    votes = np.array([[item.votes.get(name, (0, 0)) for name in criteria] for item in responses])
    return votes[..., 0], votes[..., 1]


def expected_shares(source):
    """Of a judge by words: calibrated shares of test [responses, criteria], their κ, yes_votes, num_votes."""
    data = source.load()
    texts = [
        [" ".join((*item.context, item.response)) for item in split] for split in (data.train, data.valid, data.test)
    ]
    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=2, max_features=20_000)
    train, valid, test = words.fit_transform(texts[0]), *map(words.transform, texts[1:])
    yes_votes, num_votes = votes_of(data.train, data.criteria)
    of_valid, of_test = (np.empty((len(part), len(data.criteria))) for part in (data.valid, data.test))
    for index in range(len(data.criteria)):
        rows = np.flatnonzero(num_votes[:, index])
        targets = 2 * yes_votes[rows, index] > num_votes[rows, index]
        model = LogisticRegression(C=3, max_iter=200).fit(train[rows], targets)
        of_valid[:, index], of_test[:, index] = (model.predict_proba(part)[:, 1] for part in (valid, test))
    votes = votes_of(data.valid, data.criteria)
    calibration = fit_vote_shares(of_valid, *votes)
    concentrations = fit_concentrations(vote_shares(of_valid, calibration), *votes)
    return vote_shares(of_test, calibration), concentrations, *votes_of(data.test, data.criteria)


def with_hidden(yes_votes, num_votes, seen, rng):
    """Cells with three votes or more, of which `seen` are shown: which these are, the yes among those, and where all
    votes have another majority. seen: [responses, criteria]."""
    shown = rng.hypergeometric(yes_votes, num_votes - yes_votes, seen)
    return num_votes > 2, shown, (2 * shown > seen) != (2 * yes_votes > num_votes)


def gain(order_by, found):
    """The area under the curve: which share of `found` is among the first x of the list, x from 0 to 1; chance 1/2."""
    found = found[np.argsort(-order_by, kind="stable")]
    places = (np.flatnonzero(found) + 0.5) / len(found)
    return 1 - places.mean()


def gains(source, draws=5):
    """Of each order of the list, with one vote hidden, and with all but one: the mean of `gain` over `draws`."""
    shares, concentrations, yes_votes, num_votes = expected_shares(source)
    means = {}
    for hidden, seen in (("one", np.maximum(num_votes - 1, 0)), ("all but one", np.minimum(num_votes, 1))):
        rows = []
        for rng in map(np.random.default_rng, range(draws)):
            cells, shown, flips = with_hidden(yes_votes, num_votes, seen, rng)
            posterior = posterior_shares(shares, concentrations, shown, seen)
            orders = {
                "value": values_of_a_vote(shares, concentrations, shown, seen),
                "variance": posterior * (1 - posterior) / (concentrations + seen + 1) ** 2,
                "near half": -np.abs(shares - 0.5),
                "split first": np.minimum(shown, seen - shown) + 1e-3 * rng.random(shown.shape),
                "random": rng.random(shown.shape),
            }
            rows.append({name: gain(order[cells], flips[cells]) for name, order in orders.items()})
        means[hidden] = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return means


def test_on_the_sample_data_the_list_finds_the_votes_that_flip_a_majority():
    sizes = {"train_size": 800, "valid_size": 300, "test_size": 400, "test_ood_size": 10}
    found = gains(SampleData(**sizes, held_out_topic="여행, 여가, 취미", seed=0))
    for hidden in found.values():
        assert hidden["value"] > max(hidden["near half"], hidden["random"]) + 0.2
        assert hidden["value"] > hidden["variance"] + 0.1


@pytest.mark.parametrize("name", ["expl_quality", "convabuse", "klue_nli", "square_ood"])
def test_on_public_data_too(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    paths = dict.fromkeys(("valid_path", "test_path", "test_ood_path", "criteria"))
    drawn = {"valid_fraction": 0.1, "test_fraction": 0.1, "held_out_domains": [], "split_seed": 0}
    found = gains(VotesData(SHARED / name, **paths, **drawn))
    for hidden in found.values():
        assert hidden["value"] > max(hidden["near half"], hidden["random"])
