"""The model card of an exported judge: what it judges, on what it was trained and measured, and its limits.

It says only what the judge's folder and the record of its run say.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from huggingface_hub import ModelCard, ModelCardData, try_to_load_from_cache

from contrastive_app.judge.origin import Origin
from contrastive_learning.metrics import bootstrap_intervals, quality_metrics

RESAMPLES = 200
SHOWN = {"macro_f1": "macro F1", "auroc": "AUROC", "brier": "Brier score"}
CITATION = """\
@software{contrastive_quality,
  author = {contrastive-quality contributors},
  title = {contrastive-quality},
  year = {2026},
  url = {https://github.com/contrastive-quality/contrastive-quality}
}"""


def card(
    settings: Mapping[str, Any],
    origin: Origin | None,
    usage: str,
    *,
    library: str,
    notes: Sequence[str],
    speed: str | None = None,
) -> str:
    """The text of README.md, with its YAML front matter.

    settings: judge.json. origin: None if the run is not known. usage: the section that says how to call the judge.
    library: its name on a hub. notes: further limits, a line each. speed: a section that tells of it.
    """
    encoder = None if origin is None else str(origin.options["model.name"])
    licence = None if encoder is None else _licence(encoder)
    front = ModelCardData(
        library_name=library,
        pipeline_tag="text-classification",
        tags=["contrastive-quality", "multi-label"],
        license=licence,
        base_model=encoder if encoder is not None and _is_hub_id(encoder) else None,
    )
    columns = {} if origin is None else {name: _columns(file) for name, file in origin.splits.items()}
    sections = {
        "Use": usage,
        "Criteria": _criteria(settings, columns.get("test")),
        "Data": _data(settings, origin, columns),
        "Measured": _measured(settings, columns),
        **({} if speed is None else {"Speed": speed}),
        "Limits": _limits(settings, notes),
        "Licence": _licence_words(encoder, licence),
        "Cite": f"```bibtex\n{CITATION}\n```",
    }
    intro = (
        f"Judges a response in its dialogue on {len(settings['criteria'])} yes/no criteria: per criterion the "
        "probability that most annotators say yes, a decision, and the expected share of yes votes."
    )
    body = "\n\n".join(
        [f"# Response-quality judge\n\n{intro}", *(f"## {name}\n\n{text}" for name, text in sections.items())]
    )
    return f"---\n{front.to_yaml()}\n---\n\n{body}\n"


def _columns(file: Path) -> tuple[Any, Any, Any]:
    """Probabilities, yes_votes and num_votes of a recorded split, [responses, criteria] each."""
    table = pq.read_table(file, columns=["probabilities", "yes_votes", "num_votes"])
    probabilities, yes_votes, num_votes = (np.array(table[name].to_pylist()) for name in table.column_names)
    return probabilities, yes_votes, num_votes


def _criteria(settings: Mapping[str, Any], test: tuple[Any, Any, Any] | None) -> str:
    head = ["criterion", "threshold", "yes votes in test", "F1 in test", "AUROC in test"]
    found = {} if test is None else quality_metrics(*test, settings["criteria"], settings["thresholds"])
    rows = []
    for index, (criterion, threshold) in enumerate(zip(settings["criteria"], settings["thresholds"], strict=True)):
        rate = None if test is None else float(test[1][:, index].sum() / max(test[2][:, index].sum(), 1))
        metrics = [found.get(f"{name}/{criterion}") for name in ("f1", "auroc")]
        share = "-" if rate is None else f"{rate:.0%}"
        rows.append(
            [criterion, f"{threshold:.4f}", share, *("-" if value is None else f"{value:.3f}" for value in metrics)]
        )
    return f"A probability above the threshold, which was chosen on valid, means yes.\n\n{table(head, rows)}"


def _data(settings: Mapping[str, Any], origin: Origin | None, columns: Mapping[str, tuple[Any, Any, Any]]) -> str:
    if origin is None:
        return "The run that trained this judge was not at hand when it was exported."
    counts = {} if origin.num_training is None else {"train": origin.num_training}
    counts |= {name: len(probabilities) for name, (probabilities, _, _) in columns.items()}
    lines = [
        f"- Run `{origin.run_id}`, data with the fingerprint `{origin.fingerprint}`.",
        f"- Responses: {', '.join(f'{name} {count:,}' for name, count in counts.items())}.",
    ]
    votes = np.concatenate([num_votes.reshape(-1) for _, _, num_votes in columns.values()]) if columns else np.array([])
    given = votes[votes > 0]
    if len(given):
        lines.append(
            f"- Votes for a response on a criterion: {given.mean():.1f} ({given.min():.0f} to {given.max():.0f}); its "
            "label is yes if more than half say so."
        )
    encoder = _shown(str(origin.options["model.name"]))
    lines.append(f"- Encoder: {encoder}, inputs of {settings['max_length']} tokens at most.")
    return "\n".join(lines)


def _measured(settings: Mapping[str, Any], columns: Mapping[str, tuple[Any, Any, Any]]) -> str:
    if not columns:
        return "Nothing was recorded."
    rows = []
    for name, split in columns.items():
        found = _with_intervals(split, settings)
        cells = (f"{value:.3f} ({low:.3f} to {high:.3f})" if low is not None else "-" for value, low, high in found)
        rows.append([name, *cells])
    told = (
        "Means over the criteria, with 95 % intervals (percentiles of "
        f"{RESAMPLES} bootstrap samples of the responses; they leave out the chance of training). Macro F1: of yes and "
        "no. Brier score: corrected for the noise of few votes. Thresholds and weights were chosen on valid; test_ood "
        "is of domains that train has not."
    )
    return f"{told}\n\n{table(['split', *SHOWN.values()], rows)}"


def _with_intervals(
    split: tuple[Any, Any, Any], settings: Mapping[str, Any]
) -> list[tuple[float, float | None, float | None]]:
    """Value, low and high end of each of SHOWN."""

    def metrics(rows: Any) -> list[float]:
        probabilities, yes_votes, num_votes = (column[rows] for column in split)
        found = quality_metrics(probabilities, yes_votes, num_votes, settings["criteria"], settings["thresholds"])
        return [found.get(name, np.nan) for name in SHOWN]

    intervals = bootstrap_intervals(metrics, len(split[0]), RESAMPLES)
    return [
        (value, None, None) if np.isnan(value) else (value, float(low), float(high))
        for value, (low, high) in zip(metrics(slice(None)), intervals, strict=True)
    ]


def _limits(settings: Mapping[str, Any], notes: Sequence[str]) -> str:
    trained = settings["precision"]
    rounding = f"It was trained and measured in {trained}; in fp32, as it is here, probabilities differ by rounding."
    lines = [
        "It judges as the annotators of its training data did, with their errors and preferences; in other domains and "
        "languages it is less sure than it seems.",
        "A decision on a response that annotators themselves would split on is close to a coin's.",
        f"Of inputs longer than {settings['max_length']} tokens, what is cut off is not judged.",
        *([] if trained == "fp32" else [rounding]),
        *notes,
    ]
    return "\n".join(f"- {line}" for line in lines)


def _licence_words(encoder: str | None, licence: str | None) -> str:
    if encoder is None:
        return "The weights derive from a pretrained encoder: look up its licence, and that of the training data."
    if licence is not None:
        stated = f"whose card states the licence `{licence}`"
    else:
        stated = f"see https://huggingface.co/{encoder}" if _is_hub_id(encoder) else "of which no licence was found"
    return f"The weights derive from the encoder {_shown(encoder)}, {stated}. That of the training data may bind, too."


def _licence(encoder: str) -> str | None:
    """As the card of the encoder states it, in its folder or in the hub's cache; None if there is none."""
    cached = try_to_load_from_cache(encoder, "README.md") if _is_hub_id(encoder) else None
    file = Path(cached) if isinstance(cached, str) else Path(encoder).expanduser() / "README.md"
    if not file.is_file() or not file.read_text(encoding="utf-8").startswith("---"):
        return None
    stated = ModelCard.load(file, ignore_metadata_errors=True).data.get("license")
    return None if stated is None else str(stated)


def _is_hub_id(encoder: str) -> bool:
    return encoder.count("/") == 1 and not encoder.startswith((".", "/", "~")) and not Path(encoder).is_dir()


def _shown(encoder: str) -> str:
    """Of a folder its last name only: where it lay concerns nobody."""
    return f"`{encoder if _is_hub_id(encoder) else Path(encoder).name}`"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
