"""The descriptions of the sweep's parent run and, in a paragraph each, of its children; in markdown."""

from collections.abc import Sequence

from optuna_sweep.outcome import Outcome, TrialResult, failures
from optuna_sweep.readable import compact

BEST = 3
MAX_NOTE_LENGTH = 8000  # MLflow's limit of a tag
IN_THE_SWEEP = "**In the sweep**"  # begins the paragraph that a child's description gets when the sweep ends


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
        step = outcome.step_name
        waiting = ", ".join(f"{trial.number:03d} at rung {trial.rung}, {step} {trial.last_step}" for trial in paused)
        parts.append(f"**Paused**, to continue if they deserve it: {waiting}")
    if outcome.trained:
        parts.append(f"**Trained**: {outcome.trained}")
    if outcome.doubts:
        parts.append(f"**In doubt**: {outcome.doubts}")
    if outcome.findings is not None:
        verdict = "" if outcome.findings.verdict is None else f"; {outcome.findings.verdict}"
        arms = [f"\n- {name}{arm.in_doubt}" for name, arm in outcome.findings.arms.items() if arm.doubts]
        parts.append(f"**Confirmed on fresh seeds**: {outcome.findings.chosen}{verdict}{''.join(arms)}")
    again = f"```\n{outcome.command}\n```"
    parts.append(f"**To continue** after a stop, or with a larger `hydra.sweeper.n_trials`:\n\n{again}")
    return "\n\n".join(parts)[:MAX_NOTE_LENGTH]


def describe_child(outcome: Outcome, number: int | None, known: str) -> str:
    """The description of a run with its trial's place in the sweep and the sweep's answer before what is `known`.

    number: of its trial; None for a run of the confirm stage. Repeated, the paragraph is replaced.
    """
    told = [*([] if number is None else _place(outcome, number)), *outcome.answer[:1]]
    if known.startswith(IN_THE_SWEEP):
        known = known.partition("\n\n")[2]
    return "\n\n".join(filter(None, [f"{IN_THE_SWEEP}: {' '.join(told)}" if told else "", known]))[:MAX_NOTE_LENGTH]


def _place(outcome: Outcome, number: int) -> list[str]:
    """Of a COMPLETE trial."""
    complete = outcome.complete
    place = next((place for place, trial in enumerate(complete) if trial.number == number), None)
    if place is None:
        return []
    if len(outcome.metrics) > 1:
        return ["on the Pareto front." if number in outcome.front else "not on the Pareto front."]
    sign = 1 if outcome.directions[0] == "maximize" else -1
    (value, *_), (best, *_) = complete[place].values, complete[0].values
    words = f"place {place + 1} of {len(complete)}, `{outcome.metrics[0]}` {value:.4f}"
    words += f", {sign * (best - value):.4f} behind trial {complete[0].number:03d}" * (place > 0)
    if outcome.findings is not None and (baseline := outcome.findings.arms.get("baseline")) is not None:
        apart = value - baseline.mean
        than = f"the baseline's mean over {baseline.num_seeds} other seeds"
        words += f", {abs(apart):.4f} {'above' if apart > 0 else 'below'} {than}"
    return [f"{words}."]


def _answer(outcome: Outcome) -> list[str]:
    """One line per sentence: the page may be wider than its window, which would cut a long one."""
    if not outcome.answer:
        return []
    headline, *lines = (text.replace(". ", ".  \n") for text in outcome.answer)
    return ["  \n".join([f"**{headline}**", *lines])]


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
