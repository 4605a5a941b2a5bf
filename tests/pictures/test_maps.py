import logging
import re
from dataclasses import replace
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from PIL import Image

from contrastive_learning.pictures import EmbeddingMap, Panel, Predictions, draw_grid, draw_reliability, fonts
from contrastive_learning.pictures.colours import ANCHORS, borderline, colours_of, drawing_order, legend
from contrastive_learning.pictures.maps import draw_all_criteria, draw_map, draw_overview


@pytest.fixture
def shown(criteria):
    rng = np.random.default_rng(0)
    votes = rng.integers(0, 4, (60, 3))
    return EmbeddingMap(
        "τ 0.07   λ 0.1",
        "epoch 3",
        "val/macro_f1 0.716",
        "PCA, 61 % of variance",
        rng.normal(0, 0.05, (60, 1, 2)),
        votes,
        np.full((60, 3), 3),
        criteria,
    )


def pixels(png):
    with Image.open(BytesIO(png)) as image:
        return np.array(image.convert("RGB"))


def has_colour(picture, colour):
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((np.abs(picture.astype(int) - wanted).max(axis=-1) <= 2).any())


def test_the_overview_shows_every_vote_colour_and_is_800_wide(shown):
    picture = pixels(draw_overview(shown, "safe"))
    assert picture.shape[1] == 800
    assert picture.shape[0] > pixels(draw_map(shown, "safe")).shape[0]
    assert all(has_colour(picture, colour) for colour in ANCHORS)


def test_the_same_map_is_the_same_file(shown):
    assert draw_overview(shown, "safe") == draw_overview(shown, "safe")


def test_a_map_survives_its_file(shown, tmp_path):
    shown.write(tmp_path / "map.parquet")
    again = EmbeddingMap.read(tmp_path / "map.parquet")
    assert (again.title, again.when, again.criteria) == (shown.title, shown.when, shown.criteria)
    assert draw_overview(again, "safe") == draw_overview(shown, "safe")


@pytest.fixture
def own(shown):
    """A map whose criteria have a space of their own each."""
    return replace(shown, points=np.random.default_rng(1).uniform(-0.8, 0.8, (60, 3, 2)))


def test_a_criterion_is_drawn_in_its_own_space(own, shown):
    assert (own.points_of("safe") == own.points[:, 1]).all()
    assert (shown.points_of("safe") == shown.points_of("fluent")).all()
    only = replace(shown, points=own.points[:, 1:2])
    others_moved = replace(own, points=own.points * [[[-1], [1], [-1]]])
    assert draw_map(own, "safe") == draw_map(others_moved, "safe")
    assert draw_map(own, "fluent") != draw_map(others_moved, "fluent")
    assert draw_map(own, "safe") != draw_map(only, "safe")  # in a frame of its own


def test_small_maps_of_an_epoch_have_a_place_for_each_criterion(own):
    """Mirrored, the second of three criteria changes in its frame and nowhere else, and its points stay inside it."""
    mirrored = replace(own, points=own.points * [[[1], [-1], [1]]])
    picture, other = pixels(draw_all_criteria(own)), pixels(draw_all_criteria(mirrored))
    assert picture.shape[1] == 500
    y, x = np.nonzero((picture != other).any(axis=-1))
    left, top, right, bottom = (0.625 * edge for edge in (16 + 260, 82 + 24, 16 + 260 + 249, 82 + 24 + 166))
    assert left <= x.min() < x.max() <= right
    assert top <= y.min() < y.max() <= bottom
    assert all(has_colour(picture, colour) for colour in ANCHORS)


def test_own_spaces_have_one_frame_in_all_runs(own):
    assert own.half_height == replace(own, points=own.points / 9).half_height == 1
    assert replace(own, points=own.points * 2).half_height == 2  # a t-SNE can be wider


def test_a_map_with_a_space_per_criterion_survives_its_file(own, tmp_path):
    own.write(tmp_path / "map.parquet")
    again = EmbeddingMap.read(tmp_path / "map.parquet")
    assert (again.points == own.points).all()
    assert not again.shared


def test_the_file_of_a_shared_space_is_the_one_that_older_runs_wrote(shown, tmp_path):
    shown.write(tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet")
    assert table["points"].to_pylist() == shown.points[:, 0].tolist()


@pytest.mark.parametrize("length", [30, 90])
def test_long_names_stay_over_their_own_map(shown, length):
    picture = pixels(draw_overview(replace(shown, criteria=tuple(letter * length for letter in "mnp")), "n" * length))
    assert (picture[660:-40, 268:275] == 255).all()
    assert (picture[660:-40, 790:] == 255).all()


def test_a_text_that_is_too_wide_loses_its_middle():
    figure = Figure(figsize=(8, 1))
    FigureCanvasAgg(figure)
    texts = {
        name: figure.text(0, 0, name, fontsize=12) for name in ("short", "rather_a_long_name", "first" * 9 + "end")
    }
    for text in texts.values():
        fonts.fit(text, 140)
        assert text.get_window_extent().width <= 140
    assert [text.get_text() for text in texts.values()][:2] == list(texts)[:2]
    assert re.fullmatch(r"first.*….*end", list(texts.values())[2].get_text())
    assert [text.get_fontsize() < 12 for text in texts.values()] == [False, True, True]


@pytest.mark.parametrize("num_runs", [1, 7])
def test_a_grid_has_a_row_for_three_runs(shown, num_runs):
    picture = pixels(draw_grid([Panel(shown)] * num_runs, "safe", subtitle="runs"))
    assert picture.shape[:2] == (156 + 254 * -(-num_runs // 3), 800)


@pytest.mark.parametrize(("scale", "half_height"), [(0.9, 1), (0.11, 0.125), (3.4e-4, 4e-4), (0, 1e-6)])
def test_the_frame_is_a_round_number_that_holds_every_point(shown, scale, half_height):
    points = np.array([[[0, -1]], [[1.5, 0.2]], [[-1, 1]]]) * scale
    assert replace(shown, points=points).half_height == pytest.approx(half_height)


def test_the_legend_counts_few_votes_and_gives_shares_of_many():
    assert [entry.label for entry in legend(np.full((4, 2), 3))] == ["0 of 3", "1 of 3", "2 of 3", "3 of 3"]
    assert [entry.label for entry in legend(np.array([[3], [5], [0]]))][-2:] == ["100 %", "no votes"]
    assert legend(np.full((4, 2), 20))[0].label == "0 %"


def test_colours_follow_the_share_for_any_number_of_votes():
    three, twelve = colours_of(np.array([1, 3]), np.array([3, 3])), colours_of(np.array([4, 12]), np.array([12, 12]))
    assert three.tolist() == twelve.tolist()
    assert three.tolist() == [list(to_rgba(ANCHORS[number])) for number in (1, 3)]
    assert [to_hex(colour) for colour in colours_of(np.array([0, 3]), np.array([0, 3]))] == ["#bdbdbd", ANCHORS[3]]


def test_borderline_votes_lie_on_top_and_below_them_the_rare_ones():
    order = drawing_order(np.array([0, 1, 3, 3, 3, 1, 2]), np.full(7, 3))
    assert order.tolist() == [2, 3, 4, 0, 1, 5, 6]


@pytest.mark.parametrize(("num_votes", "expected"), [(3, [1, 2]), (10, [4, 5, 6]), (1, []), (0, [])])
def test_borderline_means_that_a_third_of_the_votes_contradict(num_votes, expected):
    yes_votes = np.arange(num_votes + 1)
    assert np.flatnonzero(borderline(yes_votes, np.full(len(yes_votes), num_votes))).tolist() == expected
    if num_votes == 3:
        assert [entry.borderline for entry in legend(np.array([[3]]))] == [False, True, True, False]


def test_only_borderline_responses_have_a_dark_rim(shown):
    unanimous = replace(shown, yes_votes=3 * (shown.yes_votes > 1))
    split, plain = (pixels(draw_map(picture, "safe"))[80:380] for picture in (shown, unanimous))
    assert split.max(axis=-1).min() < 70 < 90 < plain.max(axis=-1).min()  # that of the scale bar, 95


@pytest.fixture
def no_fonts(monkeypatch):
    fonts.hangul_family.cache_clear()
    fonts._warn_once.cache_clear()
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    yield
    fonts.hangul_family.cache_clear()


def test_without_a_hangul_font_names_are_numbered_and_one_line_says_so(shown, no_fonts, caplog):
    """filterwarnings = error: matplotlib warns of each glyph that it draws as a box."""
    korean = replace(shown, criteria=("문법", "safe", "관련성"), subtitle="val/f1/문법 0.7")
    with caplog.at_level(logging.WARNING):
        first = draw_overview(korean, "문법")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    numbered = replace(shown, criteria=("criterion 1", "safe", "criterion 3"), subtitle="0.7")
    assert first == draw_overview(numbered, "criterion 1")


def test_titles_of_a_grid_that_no_font_draws_keep_their_number(shown, no_fonts):
    """filterwarnings = error, as above."""
    titled = [Panel(replace(shown, title=title)) for title in ("000 τ=0.07", "001 topic=여행", "001")]
    assert draw_grid(titled[:2], "safe", subtitle="2") == draw_grid([titled[0], titled[2]], "safe", subtitle="2")


@pytest.mark.skipif(fonts.hangul_family() is None, reason="needs a font with Hangul, such as fonts-nanum")
def test_bold_hangul_is_found_without_a_word(caplog):
    family = fonts.hangul_family()
    with caplog.at_level(logging.INFO):
        font_manager.findfont(font_manager.FontProperties(family=family, weight="bold", size=91.5))  # not cached
    assert caplog.records == []


@pytest.mark.skipif(fonts.hangul_family() is None, reason="needs a font with Hangul, such as fonts-nanum")
def test_hangul_is_drawn_with_a_font_of_the_system(shown):
    korean, other = (replace(shown, criteria=(name, "safe", "on_topic")) for name in ("문법", "논리"))
    assert draw_map(korean, "문법") != draw_map(other, "논리")


def test_reliability_has_a_panel_for_each_criterion(criteria):
    rng = np.random.default_rng(0)
    num_votes = np.full((80, 3), 3.0)
    num_votes[:, 2] = 0
    judged = Predictions(rng.random((80, 3)), rng.integers(0, 4, (80, 3)) * (num_votes > 0), num_votes)
    one, two = (pixels(draw_reliability(curves, criteria)) for curves in ({"a": judged}, {"a": judged, "λ 0": judged}))
    assert has_colour(one, "#174f8f")
    assert has_colour(two, "#b34700")
    alone = Predictions(*(column[:, :1] for column in judged))
    assert pixels(draw_reliability({"a": alone}, ["m" * 40])).shape[1] < one.shape[1] / 2
    with pytest.raises(ValueError, match="takes 1 to 4 curves, got 0"):
        draw_reliability({}, criteria)
