"""The answer in a sentence or two, no stronger than what was measured."""

import shlex
from collections.abc import Iterator
from statistics import fmean
from typing import NamedTuple

from contrastive_app.places import command
from contrastive_app.report.effects import in_other_places, of_temperature
from contrastive_app.report.evidence import Arm, Evidence
from contrastive_app.report.wording import setting, signed
from contrastive_learning.training.diagnostics import REMEDY_FOR_STUCK
from hydra_plugins.contrastive_sweeper.outcome import Comparison, settled

CONFIRM = "hydra.sweeper.confirm."
NUM_SEEDS = 8  # of the comparison that is proposed


class Verdict(NamedTuple):
    headline: str
    reason: str
    elsewhere: str = ""  # the same two configurations on split responses and in the held-out domain
    temperature: str = ""  # what it did
    next_step: str = ""  # what to do, with the command


def verdict_of(evidence: Evidence) -> Verdict:
    """Whether the contrastive term helps, as far as the sweep asked; with several objectives, what trades with what."""
    if len(evidence.outcome.metrics) > 1:
        verdict = _of_a_front(evidence)
    elif evidence.baseline is None or evidence.baseline is evidence.contrastive:
        verdict = _without_baseline(evidence)
    else:
        gain = evidence.gain()
        verdict = _of_one_seed(evidence) if gain is None else _of_seeds(evidence, gain)
    return verdict._replace(
        reason=" ".join([verdict.reason, *_doubts(evidence)]),
        elsewhere=" ".join(in_other_places(evidence)),
        temperature=of_temperature(evidence),
    )


def _to_decide(evidence: Evidence) -> str:
    """The command of the sweep with a confirm stage: its search is done, so only that stage runs."""
    without = ",".join(f"{name}:0" for name, weight in evidence.contrastive.weights.items() if weight)
    if not without:
        return ""
    own = [word for word in shlex.split(evidence.outcome.command) if not word.startswith(CONFIRM)]
    stage = {"top_k": 1, "num_seeds": NUM_SEEDS, "baseline": f"{{{without}}}"}
    again = shlex.join([*own, *(f"{CONFIRM}{name}={value}" for name, value in stage.items())])
    return f"To decide it with {2 * NUM_SEEDS} runs on fresh seeds: {again}"


def _to_train(evidence: Evidence, arm: Arm) -> str:
    """The command that trains the configuration again; one that is not the chosen one has the seed of its first run."""
    what = evidence.without if arm is evidence.baseline else "the best"
    folder, name = evidence.outcome.sweep_dir, "best_config"
    if arm is not evidence.best:
        folder, name = arm.folder / ".hydra", "config"
        if not (folder / f"{name}.yaml").is_file():
            return (
                f"To train {what} again, use {name}.yaml in .hydra of its run's folder, which is not on this machine."
            )
    start = f"{command('train')} --config-dir {shlex.quote(str(folder))} --config-name {name}"
    return f"To train {what} again: {start}"


def _doubts(evidence: Evidence) -> Iterator[str]:
    """What there is to doubt in the runs of each arm that the verdict is about, and the means without such runs."""
    arms = {id(arm): arm for arm in (evidence.best, evidence.contrastive, evidence.baseline) if arm is not None}
    for arm in arms.values():
        if arm.doubts:
            name = evidence.without if arm is evidence.baseline else setting(arm.params, evidence.outcome.labels)
            others = arm.objective(0, with_doubts=False).values()
            without = f"; without them: {evidence.outcome.metrics[0]} {fmean(others):.4f}" if others else ""
            yield f"With {name or 'this configuration'}, {arm.doubts}{without}."


def _best(evidence: Evidence) -> str:
    return setting(evidence.best.params, evidence.outcome.labels) or "the only configuration"


def _without_baseline(evidence: Evidence) -> Verdict:
    outcome = evidence.outcome
    value = sum(evidence.best.objective(0).values()) / evidence.num_seeds
    headline = f"Best: {_best(evidence)}, with {outcome.metrics[0]} {value:.4f}"
    headline += "." if evidence.num_seeds == 1 else f" on average over {evidence.num_seeds} seeds."
    reason = "Whether the contrastive term helps was not asked: no trial ran without it (λ = 0)."
    if evidence.num_seeds == 1:
        reason = f"One seed cannot tell this from its neighbours. {reason}"
    return Verdict(headline, reason, next_step=_to_decide(evidence))


def _of_one_seed(evidence: Evidence) -> Verdict:
    metric, difference = evidence.outcome.metrics[0], evidence.difference()
    contrastive = setting(evidence.contrastive.params, evidence.outcome.labels)
    where = "ahead of" if difference > 0 else "behind" if difference < 0 else "from"
    return Verdict(
        f"Not decided: {contrastive} is {abs(difference):.4f} {where} {evidence.without} in {metric}, with one seed.",
        "Another seed can move a run by as much.",
        next_step=_to_decide(evidence),
    )


def _of_seeds(evidence: Evidence, gain: Comparison) -> Verdict:
    outcome = evidence.outcome
    contrastive = setting(evidence.contrastive.params, outcome.labels)
    reasons = [f"With {contrastive}, {outcome.metrics[0]} is {_in_words(gain, evidence.without)}."]
    in_doubt = bool(evidence.contrastive.doubts or (evidence.baseline and evidence.baseline.doubts))
    without = evidence.gain(with_doubts=False) if in_doubt else gain
    if in_doubt and without is not None:
        reasons.append(f"Without the runs in doubt: {_in_words(without, evidence.without)}.")
    answer = settled(gain, without)
    gain = answer or gain
    word = gain.word.capitalize()
    if answer is None:
        headline = "Not decided: the answer depends on runs in doubt."
    elif not gain.says_something:
        headline = f"{word}: {gain.num_seeds} seeds cannot tell the contrastive term from {evidence.without}."
    elif gain.low > 0:
        headline = f"{word} from the contrastive term: use {contrastive}."
    elif gain.high < 0:
        headline = f"{word} from the contrastive term: keep {evidence.without}."
    else:
        headline = (
            f"No gain in {outcome.metrics[0]} beyond seed noise: keep {evidence.without}; up to {gain.high:+.4f} stays "
            "possible."
        )
    if gain.is_hint:
        reasons.append(f"So few agree by chance in one of {2 ** (gain.num_seeds - 1)} comparisons.")
    if not evidence.is_fresh:
        reasons.append("The same seeds chose the configuration, which flatters it.")
    if answer is None:
        next_step = f"Before more seeds, see that fewer runs get stuck: {REMEDY_FOR_STUCK}."
    else:
        next_step = _after(evidence, gain)
    return Verdict(headline, " ".join(reasons), next_step=next_step)


def _after(evidence: Evidence, gain: Comparison) -> str:
    """The command that trains what the headline recommends, or decides what it leaves open."""
    if not gain.says_something:
        return _to_decide(evidence)
    assert evidence.baseline is not None
    return _to_train(evidence, evidence.contrastive if gain.low > 0 else evidence.baseline)


def _in_words(gain: Comparison, baseline: str) -> str:
    interval = f"{100 * gain.confidence:.3g} % interval {signed(gain.low, 4)} to {signed(gain.high, 4)}, " * (
        gain.says_something
    )
    return (
        f"{abs(gain.mean_gain):.4f} {'better' if gain.mean_gain > 0 else 'worse'} than with {baseline} "
        f"({interval}{gain.num_seeds} paired seeds)"
    )


def _of_a_front(evidence: Evidence) -> Verdict:
    outcome, front = evidence.outcome, set(evidence.outcome.front)
    arms = [arm for arm in evidence.arms if front & set(arm.trials)]
    goals = " and ".join(f"{metric} ({aim})" for metric, aim in zip(outcome.metrics, outcome.directions, strict=True))
    if len(arms) == 1:
        headline = f"One configuration is the best in both: {setting(arms[0].params, outcome.labels)}."
    else:
        headline = f"{len(arms)} of {len(evidence.arms)} configurations trade {goals}; none is best in both."
    without = [arm for arm in evidence.arms if arm.is_baseline]
    if not without:
        reason = "Whether the contrastive term helps was not asked: no trial ran without it (λ = 0)."
    elif any(arm in arms for arm in without):
        reason = "λ = 0 is among them: nothing beats it in both."
    else:
        reason = "λ = 0 is not among them: some contrastive run beats it in both."
    few = f"{evidence.num_seeds} seed{'s' * (evidence.num_seeds > 1)} per configuration"
    return Verdict(headline, f"{reason} With {few}, neighbours on the front may trade places.")
