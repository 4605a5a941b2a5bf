"""The page of two runs that a sweep leaves."""

from contrastive_app.report.evidence import gather
from contrastive_app.report.runs_side_by_side import runs_side_by_side


def page_of(title):
    return f'<script type="application/json" id="data">[{{"title":"{title}"}}]</script>'


def test_the_run_without_a_contrastive_term_stands_left_of_the_best_with_one(sweep):
    """Of the first seed whose two pages are there and of this version."""
    sweep.trial(0.07, 0.0, 0.7, 0.7, 0.7)
    sweep.trial(0.07, 0.3, 0.8, 0.8, 0.8)
    evidence = gather(sweep.outcome())
    assert runs_side_by_side(evidence) is None  # no run has left a page
    arms = evidence.baseline, evidence.contrastive
    for arm, title in zip(arms, ("none", "with"), strict=True):
        for seed in (1, 2):
            (arm.runs[seed].folder / "embedding.html").write_text(page_of(f"{title} {seed}"))
    (arms[0].runs[1].folder / "embedding.html").write_text(page_of("older").replace("[", "").replace("]", ""))
    page = runs_side_by_side(evidence)
    assert '[{"title":"none 2"},{"title":"with 2"}]' in page
    assert "<title>none 2   and   with 2</title>" in page
