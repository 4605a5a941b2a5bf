"""What the contrastive term and its temperature did besides the objective, in a sentence each."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.wording import SPLITS, compact, setting, signed
from contrastive_learning.metrics.table import METRICS
from hydra_plugins.contrastive_sweeper.outcome import CONFIDENCE, compare

TEMPERATURE = "loss.temperature"
SILHOUETTE = "val/embedding/silhouette"
FEWEST_FOR_A_TREND = 6
DIRECTIONS = {metric.summary: metric.direction for metric in METRICS}
PLACES = {  # what it is about -> metric, its name in words, and splits, of which the first that is recorded counts
    "Split responses": ("borderline/auroc", "AUROC of 2:1 against 1:2 votes", ("test", "val")),
    "Held-out domain": ("macro_f1", "macro F1", ("test_ood",)),
}


def in_other_places(evidence: Evidence) -> Iterator[str]:
    """How the two compared configurations differ on split responses and in the held-out domain, as far as is known."""
    if evidence.baseline is None or len(evidence.outcome.metrics) > 1:
        return
    for place, (metric, measure, splits) in PLACES.items():
        for split in splits:
            own, other = (arm.metric(f"{split}/{metric}") for arm in (evidence.contrastive, evidence.baseline))
            if own and other:
                where = place if len(splits) == 1 else f"{place} of {SPLITS[split]}"
                yield f"{where}: {_difference(evidence, measure, DIRECTIONS[metric], own, other)}."
                break


def _difference(
    evidence: Evidence, measure: str, direction: str, own: Mapping[int, float], other: Mapping[int, float]
) -> str:
    confirmation = evidence.outcome.confirmation
    confidence = CONFIDENCE if confirmation is None else confirmation.confidence
    found = compare(own, other, direction, confidence)
    sign = 1 if direction == "maximize" else -1
    gain = sign * (fmean(own.values()) - fmean(other.values())) if found is None else found.mean_gain
    words = f"{measure} is {abs(gain):.4f} {'better' if gain > 0 else 'worse'} than with {evidence.without}"
    if found is None or not found.says_something:
        return f"{words}, with too few seeds to tell"
    interval = f"({100 * confidence:.3g} % interval {signed(found.low, 4)} to {signed(found.high, 4)})"
    if not found.is_decided:
        return f"no difference in {measure} is shown {interval}"
    return f"{'a hint that ' * found.is_hint}{words} {interval}"


def of_temperature(evidence: Evidence) -> str:
    """What τ did to the objective and the silhouette, no stronger than the runs tell; empty if it was not varied."""
    arms = [arm for arm in evidence.arms if TEMPERATURE in arm.params and not arm.is_baseline]
    temperatures = {float(arm.params[TEMPERATURE]) for arm in arms}
    if len(temperatures) < 2:
        return ""
    label = evidence.outcome.labels.get(TEMPERATURE, TEMPERATURE)
    span = f"{label} from {compact(min(temperatures))} to {compact(max(temperatures))}"
    score = evidence.outcome.metrics[0]
    alike = len({repr({**arm.params, TEMPERATURE: None}) for arm in arms}) == 1
    points = _points(arms, [arm.objective(0) for arm in arms], alike=alike)
    count = f"{len(points)} {'runs' if alike else 'configurations'}"
    if len(points) < FEWEST_FOR_A_TREND:
        return f"{span}: {count} are too few to show a trend.{_clusters(evidence)}"
    silhouettes = _points(arms, [arm.metric(SILHOUETTE) for arm in arms], alike=alike)
    measured = {score: points, "silhouette": silhouettes if len(silhouettes) >= FEWEST_FOR_A_TREND else []}
    return f"{span}, {count}: {', '.join(_trends(measured))}.{_clusters(evidence)}"


def _points(arms: Sequence[Arm], values: Sequence[Mapping[int, float]], *, alike: bool) -> list[tuple[float, float]]:
    """(τ, value) of each run or, unless the arms are alike but for τ, of each arm, as its seeds share all the rest."""
    pairs = [(float(arm.params[TEMPERATURE]), list(each.values())) for arm, each in zip(arms, values, strict=True)]
    return [
        (temperature, value) for temperature, found in pairs if found for value in (found if alike else [fmean(found)])
    ]


def _trends(measured: Mapping[str, Sequence[tuple[float, float]]]) -> Iterator[str]:
    """By Kendall's rank correlation. measured: measure -> points, of which there may be none."""
    from scipy.stats import kendalltau

    flat = []
    for measure, points in measured.items():
        if not points:
            continue
        found = kendalltau(*zip(*points, strict=True))
        if found.pvalue < 1 - CONFIDENCE:
            yield f"{measure} {'rises' if found.statistic > 0 else 'falls'} with it"
        else:  # also if all values are equal, which gives NaN
            flat.append(measure)
    if flat:
        yield f"no trend in {' or '.join(flat)} beyond chance"


def _clusters(evidence: Evidence) -> str:
    """The silhouettes of the two compared configurations."""
    if evidence.baseline is None:
        return ""
    own, other = (list(arm.metric(SILHOUETTE).values()) for arm in (evidence.contrastive, evidence.baseline))
    if not own or not other:
        return ""
    name = setting(evidence.contrastive.params, evidence.outcome.labels)
    words = f"With {name} the silhouette on valid is {fmean(own):.2f}, at {evidence.without} {fmean(other):.2f}"
    return f" {words} (mean over criteria)."
