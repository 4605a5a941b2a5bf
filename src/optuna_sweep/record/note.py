"""The description of the sweep's parent run, in markdown."""

from collections.abc import Sequence

from optuna_sweep.outcome import Outcome, TrialResult, failures
from optuna_sweep.readable import compact

BEST = 3


def describe(outcome: Outcome, links: str = "") -> str:
    """The answer first, as the page shows only the first lines; then what was swept, the best, and how to continue.

    links: to the comparison, in markdown.
    """
    aims = " and ".join(f"{aim} `{name}`" for aim, name in zip(outcome.directions, outcome.metrics, strict=True))
    sampler = outcome.sampler.rpartition(".")[2]
    how = "every point of a grid" if outcome.sampler == "grid" else f"a search by {sampler}"
    seeds = f", each with seeds {', '.join(map(str, outcome.seeds))}" if len(outcome.seeds) > 1 else ""
    swept = [f"- `{name}`: {what}" for name, what in outcome.space.items()]
    parts = [
        *_answer(outcome),
        *filter(None, [links]),
        f"Study `{outcome.study}`: {how}{seeds}, to {aims}. {_counts(outcome)}.",
        "\n".join(["**Swept**", "", *swept]),
        *_best(outcome, outcome.complete[:BEST]),
    ]
    if outcome.failed:
        reasons = {trial.number: trial.reason for trial in outcome.failed}
        parts.append(f"**Failed**: {failures(reasons, len(outcome.trials))}")
    if outcome.chance:
        parts.append(f"**How sure**: {outcome.chance}")
    if paused := [trial for trial in outcome.unfinished if trial.rung is not None]:
        waiting = ", ".join(f"{trial.number:03d} at rung {trial.rung}, epoch {trial.last_step}" for trial in paused)
        parts.append(f"**Paused**, to continue if they deserve it: {waiting}")
    if outcome.epochs:
        parts.append(f"**Trained**: {outcome.epochs}")
    if outcome.doubts:
        parts.append(f"**In doubt**: {outcome.doubts}")
    if outcome.findings is not None:
        verdict = "" if outcome.findings.verdict is None else f"; {outcome.findings.verdict}"
        arms = [f"\n- {name}{arm.in_doubt}" for name, arm in outcome.findings.arms.items() if arm.doubts]
        parts.append(f"**Confirmed on fresh seeds**: {outcome.findings.chosen}{verdict}{''.join(arms)}")
    again = f"```\n{outcome.command}\n```"
    parts.append(f"**To continue** after a stop, or with a larger `hydra.sweeper.n_trials`:\n\n{again}")
    return "\n\n".join(parts)


def _answer(outcome: Outcome) -> list[str]:
    if not outcome.answer:
        return []
    headline, *lines = outcome.answer
    return [" ".join([f"**{headline}**", *lines[:1]]), *lines[1:]]


def _counts(outcome: Outcome) -> str:
    counts = outcome.counts
    text = ", ".join(
        f"{counts[state]} {state}" for state in ("COMPLETE", "PRUNED", "PAUSED", "FAIL") if state in counts
    )
    reused = sum(trial.reused_from is not None for trial in outcome.trials)
    return (text or "Nothing finished") + (f" ({reused} reused from runs of the same point)" if reused else "")


def _best(outcome: Outcome, trials: Sequence[TrialResult]) -> list[str]:
    if not trials:
        return []
    names = list(trials[0].params)
    heading = ["trial", *(f"`{name}`" for name in names), *(f"`{name}`" for name in outcome.metrics)]
    rows = [
        [
            f"{trial.number:03d}",
            *(compact(trial.params.get(name, "-")) for name in names),
            *(f"{value:.4f}" for value in trial.values),
        ]
        for trial in trials
    ]
    table = [heading, ["---"] * len(heading), *rows]
    title = "**The Pareto front**" if len(outcome.metrics) > 1 else "**The best**"
    return [title + "\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in table)]
