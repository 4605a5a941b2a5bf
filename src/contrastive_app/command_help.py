"""What `--help` and `--version` print: read from the YAML files as they are, so that it is quick and keeps comments."""

import argparse
import importlib.metadata
import platform
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from contrastive_app.places import CONF, STUDIES, command

PACKAGES = ("torch", "mlflow", "hydra-core")
EXAMPLES = {
    "(nothing)": "the sample data, a small BERT, a minute",
    "data=votes data.path=judged.jsonl model=klue_roberta_base": "your responses, a pretrained encoder",
    "loss.temperature=0.1 loss.lambda_contrastive=0.3": "any option, by its dotted name",
    "loss=bce": "another choice of a group: no contrastive term",
    "-m loss.temperature=0.05,0.1 seed='range(0,3)'": "a grid: six runs",
    "--config-name temperature_lambda": "a study: an Optuna search",
    "--config-name smoke hydra.sweeper.dry_run=true": "what a study would run",
    "data=votes data.path=judged.jsonl data.report=true": "what is read of your data; trains nothing",
    "trainer.resume_from=FOLDER": "continue an interrupted run, with the options that it had",
}
MORE = {
    "--help loss=instance": "the options of other choices",
    "--cfg job OPTION=VALUE …": "the configuration of this command line",
    "--cfg hydra -p hydra.sweeper": "the keys of a search",
    "--hydra-help": "the flags of Hydra",
}
NOT_FOR_PEOPLE = re.compile(r"\s*_(target|partial)_:")


def help_text(arguments: Sequence[str] = ()) -> str:
    """Examples, one line per group with its choices, and the options of the chosen ones with their comments.

    arguments: of the command line, of which those that choose count: loss=bce. Raises ValueError if there is no such
    choice.
    """
    chosen = _defaults()
    groups = chosen | {"hydra/launcher": "local"}
    for argument in arguments:
        group, _, choice = argument.partition("=")
        if group in chosen:
            chosen[group] = choice
    name = command("train")
    return "\n".join(
        [
            f"usage: {name} [GROUP=CHOICE …] [OPTION=VALUE …] [-m] [--config-name STUDY] [--help] [--version]",
            "",
            "Trains a judge of responses, or many: a grid, or a search for the best temperature and weight of the",
            "contrastive loss. Every option has a default, so that nothing must be given.",
            "",
            f"Examples, each after {name}",
            *_listed(EXAMPLES),
            "",
            "Groups, and their choices (default first)",
            *_listed({group: ", ".join(_choices(group, default)) for group, default in groups.items()}),
            "",
            "Studies",
            *_listed({file.stem: _about(file) for file in sorted(STUDIES.glob("*.yaml"))}),
            "",
            "More",
            *_listed(MORE),
            "",
            "Options, with their defaults",
            "",
            *_options(chosen),
        ]
    )


def version_text() -> str:
    """One line: contrastive-quality 0.1.0 (torch 2.13.0, mlflow 3.17.0, hydra-core 1.3.2, Python 3.12.3)"""
    others = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    own = importlib.metadata.version("contrastive-quality")
    return f"contrastive-quality {own} ({others}, Python {platform.python_version()})"


class ShowVersion(argparse.Action):
    """Prints the versions on one line, which argparse would wrap.

    parser.add_argument("--version", action=ShowVersion)
    """

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the versions of this project and what it runs on")

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        print(version_text())
        parser.exit()


def _defaults() -> dict[str, str]:
    """Group -> its default choice, in the order of conf/train.yaml."""
    import yaml

    entries = yaml.safe_load((CONF / "train.yaml").read_text(encoding="utf-8"))["defaults"]
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {group: choice for group, choice in pairs if not group.startswith("override ")}


def _choices(group: str, default: str) -> list[str]:
    names = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    return [default, *(name for name in names if name != default)]


def _listed(lines: dict[str, str]) -> Iterator[str]:
    width = max(map(len, lines))
    for name, told in lines.items():
        yield f"  {name:<{width}}  {told}"


def _about(study: Path) -> str:
    """The first sentences of the comment that the file begins with, as far as they fit."""
    comment = re.match(r"(?:#.*\n)*", study.read_text(encoding="utf-8"))
    return textwrap.shorten("" if comment is None else comment.group().replace("#", ""), 95, placeholder=" …")


def _options(chosen: dict[str, str]) -> Iterator[str]:
    for group, choice in chosen.items():
        file = CONF / group / f"{choice}.yaml"
        if not file.exists():
            raise ValueError(f"there is no {group}={choice}: {', '.join(_choices(group, _defaults()[group]))}")
        yield f"{group}:  # {group}={choice}"
        lines = file.read_text(encoding="utf-8").splitlines()
        yield from (f"  {line}".rstrip() for line in lines if not NOT_FOR_PEOPLE.match(line))
    own = (CONF / "train.yaml").read_text(encoding="utf-8")
    yield from own[own.index("\nseed:") : own.index("\nhydra:")].strip().splitlines()
