"""The offline page, in a real browser where there is one."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from contrastive_learning.pictures import PictureSettings, RunPictures, side_by_side
from contrastive_learning.pictures.page import MAX_FRAMES, NUM_NEIGHBOURS, thin_out

IDS = [f"r{index}" for index in range(60)]
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&amp;\u2028끝"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_chromium = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


def pictures(folder, split, criteria, **changes):
    settings = {"projection": "pca", "criterion": None, "sample_size": 500, "projector_files": False} | changes
    return RunPictures(
        PictureSettings(**settings),
        split,
        criteria,
        folder,
        temperature=0.07,
        lambda_contrastive=0.1,
        objective="val/macro_f1",
    )


@pytest.fixture
def write_page(tmp_path, make_split, evaluate, criteria):
    """Write the page of a run of three epochs, the second of which is kept. Returns its path."""

    def write(projection="shared", **texts):
        split = make_split(IDS, **texts)
        run = pictures(tmp_path, split, texts.get("criteria", criteria), criterion="safe")
        for epoch in range(4):
            run.at_epoch(evaluate(split, epoch, projection=projection), epoch, 0.5 + epoch / 10)
        list(run.at_end(evaluate(split, 2, projection=projection), 2, 0.7, run.criterion))
        return tmp_path / "embedding.html"

    return write


def browse(page, script):
    """The page's DOM after `script` has run in it."""
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,800"]
    options += ["--virtual-time-budget=3000", f"--user-data-dir={page.parent}/profile", "--dump-dom"]
    command = [CHROMIUM, *options, driven.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def text_of(dom, name):
    found = re.search(rf'<(\w+) id="{name}"[^>]*>(.*?)</\1>', dom, re.DOTALL)
    return html.unescape(re.sub("<[^>]+>", " ", found.group(2)))


def test_the_page_asks_nothing_of_the_network(write_page):
    text = write_page().read_text(encoding="utf-8")
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text


def test_no_text_can_end_the_script(write_page):
    text = write_page(response=EVIL, criteria=("</script>", "safe", "c")).read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "\u2028" not in text
    assert "<img" not in text


def test_long_runs_keep_the_first_the_last_and_the_kept_epoch():
    epochs = list(range(501))
    chosen = thin_out(epochs, kept=333)
    assert len(chosen) == MAX_FRAMES
    assert {0, 333, 500} <= set(chosen)
    assert thin_out([0, 1, 2], kept=1) == [0, 1, 2]


def test_a_page_of_an_older_version_stands_beside_none(write_page):
    page = write_page().read_text(encoding="utf-8")
    assert side_by_side(page, '<script type="application/json" id="data">{"title":"old"}</script>') is None


def test_five_hundred_responses_over_forty_epochs_stay_below_a_megabyte(tmp_path, make_split, evaluate, criteria):
    split = make_split([f"r{index}" for index in range(600)], response="바람이 불어 시원해요. " * 8)
    run = pictures(tmp_path, split, criteria)
    for epoch in range(40):
        run.history.add(evaluate(split, epoch), epoch, 0.5)
    list(run.at_end(evaluate(split, 39), 39, 0.5, run.criterion))
    assert (tmp_path / "embedding.html").stat().st_size < 1_000_000


class TestInChromium:
    pytestmark = in_chromium

    def test_it_opens_at_the_kept_epoch(self, write_page):
        dom = browse(write_page(), "")
        assert text_of(dom, "title") == "τ 0.07   λ 0.1"
        assert text_of(dom, "subtitle") == "epoch 2   ·   val/macro_f1 0.700   ·   the epoch that is kept"
        assert "% of variance; turned to match the votes" in text_of(dom, "note")
        assert "60 responses" in text_of(dom, "item")

    def test_the_slider_goes_back_to_before_training(self, write_page):
        slide = "const e = element('epoch'); e.value = 0; e.dispatchEvent(new Event('input'));"
        dom = browse(write_page(), slide)
        assert text_of(dom, "when") == "before training"
        assert text_of(dom, "subtitle") == "before training   ·   val/macro_f1 0.500"

    def test_play_ends_at_the_last_epoch(self, write_page):
        dom = browse(write_page(), "element('play').click();")
        assert text_of(dom, "when") == "epoch 3"

    def test_arrow_keys_read_out_a_response_and_its_votes(self, write_page):
        press = "views[0].canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}));"
        switch = "const c = element('criterion'); c.selectedIndex = 2; c.dispatchEvent(new Event('change'));"
        dom = browse(write_page(), press + switch)
        item = text_of(dom, "item")
        assert "맑고 따뜻해요" in item
        assert "오늘 날씨 어때요?" in item
        assert re.search(r"fluent\s+\d of 3\s+[01]\.\d\d", item)
        assert re.search(r'class="chosen"><th>on_topic</th>', dom)

    def test_pointing_at_a_point_shows_it(self, write_page):
        point = """
            const [view] = views, [x, y] = view.place(7), box = view.canvas.getBoundingClientRect();
            const at = {clientX: box.x + x + 1, clientY: box.y + y + 1};
            view.canvas.dispatchEvent(new PointerEvent("pointermove", at));
            document.title = String(view.nearest(x, y, 18) === view.item && view.item >= 0);"""
        dom = browse(write_page(), point)
        assert "<title>true</title>" in dom

    def test_every_vote_colour_is_on_the_canvas(self, write_page):
        look = """
            const {context, canvas} = views[0], seen = new Set();
            const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
            for (let at = 0; at < pixels.length; at += 4) seen.add([...pixels.slice(at, at + 3)].join());
            const wanted = [0, 1 / 3, 2 / 3, 1].map(share => colour(share).replace(/[^\\d,]/g, ""));
            document.title = String(wanted.filter(each => seen.has(each)).length);"""
        assert "<title>4</title>" in browse(write_page(), look)

    @pytest.mark.parametrize(("projection", "spaces"), [("per_criterion", "0,1,2"), ("shared", "0")])
    def test_another_criterion_shows_its_own_space(self, write_page, projection, spaces):
        switch = """
            const c = element("criterion"), [view] = views, {points} = view.frames[view.frame];
            document.title = points.map((_, index) => {
              c.selectedIndex = index; c.dispatchEvent(new Event("change"));
              return points.findIndex(each => each.every((value, at) => value === view.points[at]));
            }).join();"""
        assert f"<title>{spaces}</title>" in browse(write_page(projection=projection), switch)

    def test_neighbours_of_the_chosen_response_are_listed_and_chosen_by_a_click(self, write_page):
        """With their votes, in the space of the criterion, nearest first."""
        click = """
            const [view] = views, [x, y] = view.place(7), box = view.canvas.getBoundingClientRect();
            view.canvas.dispatchEvent(new MouseEvent("click", {clientX: box.x + x, clientY: box.y + y}));
            const item = view.item, near = view.near(item), list = [...document.querySelectorAll("#item ol button")];
            const told = list.map(each => each.querySelector(".figure").textContent);
            list[2].click();
            const others = near.every(each => each.item !== item), third = view.item === near[2].item;
            document.title = [others, third, state.held, ...told].join("|");"""
        dom = browse(write_page(projection="per_criterion"), click)
        other, chosen, held, *told = re.search("<title>(.*)</title>", dom).group(1).split("|")
        assert (other, chosen, held, len(told)) == ("true", "true", "true", NUM_NEIGHBOURS)
        cosines = [float(re.fullmatch(r"\d of 3 · cosine (-?[01]\.\d\d)", each).group(1)) for each in told]
        assert cosines == sorted(cosines, reverse=True)
        assert "nearest in the slice of safe, epoch 2" in text_of(dom, "item")

    def test_a_search_shows_and_lists_what_matches(self, write_page):
        """By id, whatever the case; all words must match."""
        search = "const q = element('query'); q.value = 'R5 날씨'; q.dispatchEvent(new Event('input'));"
        dom = browse(write_page(), search)
        assert text_of(dom, "found") == "11 match"  # r5, r50 to r59
        assert "11 of 60 responses match." in text_of(dom, "item")
        assert "맑고 따뜻해요" in text_of(dom, "item")

    def test_two_runs_side_by_side_share_criterion_and_choice(
        self, write_page, make_split, evaluate, criteria, tmp_path
    ):
        """The other run shows the same responses in another order and one less."""
        page = write_page()
        other = tmp_path / "other"
        other.mkdir()
        split = make_split(IDS[:0:-1])
        run = pictures(other, split, criteria)
        list(run.at_end(evaluate(split, 5), 1, 0.9, "fluent"))
        both = page.with_name("both.html")
        texts = (each.read_text(encoding="utf-8") for each in (page, other / "embedding.html"))
        both.write_text(side_by_side(*texts), encoding="utf-8")
        click = """
            const [one, two] = views, [x, y] = two.place(3), box = two.canvas.getBoundingClientRect();
            two.canvas.dispatchEvent(new MouseEvent("click", {clientX: box.x + x, clientY: box.y + y}));
            const c = element("criterion"); c.value = "on_topic"; c.dispatchEvent(new Event("change"));
            const linked = one.idOf(one.item) === two.idOf(two.item) && one.item !== two.item;
            document.title = [linked, one.criterion, two.criterion];"""
        dom = browse(both, click)
        assert "<title>true,2,2</title>" in dom
        assert text_of(dom, "subtitle2") == "epoch 1   ·   val/macro_f1 0.900   ·   the epoch that is kept"
        assert text_of(dom, "item").count("nearest in the shared space") == 2

    def test_the_page_of_another_run_is_opened_and_a_wrong_file_named(self, write_page):
        page = write_page()
        data = json.dumps(page.read_text(encoding="utf-8")).replace("<", "\\u003c")
        choose = f"""
            const other = new File([{data}], "embedding.html"), wrong = new File(["hello"], "notes.html");
            compare(other).then(() => {{ const count = views.length; return compare(wrong).then(() => {{
              document.title = [count, element("problem").textContent]; }}); }});"""
        dom = browse(page, choose)
        assert re.search("<title>2,notes.html is not the embedding.html of a run on the same data", dom)

    def test_ten_thousand_responses_are_drawn_without_a_wait(self, tmp_path, make_split, evaluate, criteria):
        """Each colour is drawn once and copied, and pointing redraws no point: counted, not timed."""
        split = make_split([f"r{index}" for index in range(10_000)])
        run = pictures(tmp_path, split, criteria, sample_size=10_000)
        list(run.at_end(evaluate(split, 1), 1, 0.5, criteria[0]))
        count = """
            const calls = {arc: 0, drawImage: 0}, proto = CanvasRenderingContext2D.prototype;
            for (const name of Object.keys(calls)) {
              const own = proto[name];
              proto[name] = function (...args) { calls[name]++; return own.apply(this, args); };
            }
            redraw(); const drawn = {...calls}; choose("r7"); choose("r70");
            document.title = [drawn.arc, drawn.drawImage, calls.arc - drawn.arc, calls.drawImage - drawn.drawImage];"""
        arcs, images, more_arcs, more_images = map(
            int, re.search("<title>(.*)</title>", browse(tmp_path / "embedding.html", count)).group(1).split(",")
        )
        assert (images, more_arcs, more_images) == (10_001, 2, 2)
        assert arcs <= 6

    def test_texts_from_data_do_not_run(self, write_page):
        press = "views[0].canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}));"
        name = "<img src=x onerror=\"document.title='owned'\">"
        dom = browse(write_page(response=EVIL, criteria=(name, "safe", "c")), press)
        assert "<title>owned" not in dom
        assert "document.title='owned'" in text_of(dom, "item")
        assert "끝" in text_of(dom, "item")


def test_not_a_number_is_shown_as_nothing(tmp_path, make_split, evaluate, criteria):
    split = make_split(IDS)
    list(pictures(tmp_path, split, criteria).at_end(evaluate(split, 0), 1, np.nan, criteria[0]))
    assert '"value":null' in (tmp_path / "embedding.html").read_text(encoding="utf-8")
