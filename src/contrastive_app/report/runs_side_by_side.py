"""The embeddings of a run without a contrastive term and of the best with one, as one page with linked selection."""

from contrastive_app.report.evidence import Evidence
from contrastive_learning.pictures import side_by_side

PAGE = "embedding.html"  # in the folder of a run


def runs_side_by_side(evidence: Evidence) -> str | None:
    """The page as HTML, of two runs of the same seed; None if there are no two, or one of their pages is missing."""
    own, baseline = evidence.contrastive, evidence.baseline
    if baseline is None or own.is_baseline:
        return None
    both = (seed for seed in own.runs if seed in baseline.runs)
    for seed in both:
        pages = [arm.runs[seed].folder / PAGE for arm in (baseline, own)]
        if all(page.is_file() for page in pages):
            pair = side_by_side(*(page.read_text(encoding="utf-8") for page in pages))
            if pair is not None:
                return pair
    return None
