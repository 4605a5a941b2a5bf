"""Turns the errors of Hydra and OmegaConf into one line that tells a person at the command line what to change."""

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

# groups of hydra that a person may misspell; they are not among the options of conf
HYDRA_GROUPS = ("hydra/launcher", "hydra/sweeper", "hydra/sweeper/sampler", "hydra/sweeper/pruner")


def explain(error: BaseException, config_dir: Path) -> str:
    """One line for an error of composing or checking the configuration; names the nearest known key.

    The patterns match the messages of Hydra 1.3 and OmegaConf 2.3, the versions in pyproject.toml. A message that none
    of them matches is returned as it is, in one line.
    """
    text = str(error)
    # OmegaConf 2.3, ConfigAttributeError or ConfigKeyError, for loss.temprature=1:
    # "Key 'temprature' is not in struct\n    full_key: loss.temprature\n    object_type=dict"
    node = re.search(r"full_key: (\S+)", text)
    if node is not None and "not in struct" in text:
        return f"there is no option {node.group(1)}{_nearest(node.group(1), config_dir)}"
    # Hydra 1.3, InstantiationException, for +loss.temprature=1:
    # "Error in call to target '...':\nTypeError("... got an unexpected keyword argument 'temprature'")\nfull_key: loss"
    added = re.search(r"unexpected keyword argument '(\w+)'", text)
    if node is not None and added is not None:
        key = f"{node.group(1)}.{added.group(1)}"
        return f"there is no option {key}{_nearest(key, config_dir)}"
    # Hydra 1.3, OverrideParseException: "LexerNoViableAltException: model.name=한글 이름\n      ^\nSee https://hydra.cc..."
    unquoted = re.search(r"LexerNoViableAltException: ([^=\s]+)=([^\n]*)", text)
    if unquoted is not None:
        key, value = unquoted.group(1), _with_quotes(unquoted.group(2).strip())
        return f'{key}: a value with spaces or letters like 한글 needs quotes inside quotes: "{key}={value}"'
    # Hydra 1.3, OverrideParseException, for epochs: "Error parsing override 'epochs'\nmissing EQUAL at '<EOF>'\nSee …"
    valueless = re.search(r"Error parsing override '([\w./]+)'\s+missing EQUAL", text)
    if valueless is not None:
        key = valueless.group(1)
        return f"{key}: an option needs a value, {key}=…{_nearest(key, config_dir)}"
    # Hydra 1.3, MissingConfigException, for loss=supconn: "In 'train': Could not find 'loss/supconn'\n\n
    # Available options in 'loss':\n\tagreement\n\tbce..."
    choice = re.search(r"Could not find '([\w/]+)/([^/']*)'\s+Available options in '\1':((?:\n\t.*)*)", text)
    if choice is not None:
        return _no_choice(f"{choice.group(1)}=", choice.group(2), choice.group(3).split())
    # Hydra 1.3, MissingConfigException, for --config-name smok: "Cannot find primary config 'smok'. Check that it's in
    # your config search path.\n\nConfig search path:\n\tprovider=hydra, path=pkg://hydra.conf\n\tprovider=main, ..."
    study = re.search(r"Cannot find primary config '(.+?)'", text)
    if study is not None:
        folders = re.findall(r"provider=(?:main|command-line|studies), path=file://(.+)", text)
        return _no_choice("--config-name ", study.group(1), sorted(_configs(folders)))
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def as_set(line: str, config: DictConfig) -> str:
    """The line of an error; an option that it begins with, and that takes its value from another, becomes the other.

    >>> as_set("trainer.seed must be at least 0", OmegaConf.create({"seed": -1, "trainer": {"seed": "${seed}"}}))
    'seed must be at least 0'
    """
    found = re.match(r"(\w+)\.([\w.]+)(?= )", line)
    node = None if found is None else OmegaConf.select(config, found.group(1))
    if found is None or not isinstance(node, DictConfig):
        return line
    value: Any = OmegaConf.to_container(node, resolve=False)
    for name in found.group(2).split("."):
        value = value.get(name) if isinstance(value, dict) else None
    source = re.fullmatch(r"\$\{(\w[\w.]*)\}", value) if isinstance(value, str) else None
    return line if source is None else source.group(1) + line[found.end() :]


def _no_choice(option: str, name: str, choices: Sequence[str]) -> str:
    from contrastive_learning.choices import did_you_mean

    return f"there is no {option}{name}{did_you_mean(name, choices)}: {', '.join(choices)}"


def _configs(folders: Iterable[str]) -> set[str]:
    return {file.stem for folder in folders for file in Path(folder).glob("*.yaml")}


def check_keys(config: DictConfig, config_dir: Path) -> None:
    """Raises ValueError for a top-level key that nothing reads, which `+name=value` would add silently."""
    train = yaml.safe_load((config_dir / "train.yaml").read_text(encoding="utf-8"))
    groups = [group for entry in train["defaults"] if isinstance(entry, dict) for group in entry]
    for key in map(str, config):
        if key not in (*train, *groups):
            raise ValueError(f"there is no option {key}{_nearest(key, config_dir)}")


def check_arguments(group: str, function: partial[Any], config_dir: Path) -> None:
    """Raises ValueError for an option that `function`, which the group describes, does not have."""
    accepted = inspect.signature(function.func).parameters
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in accepted.values()):
        return
    for name in function.keywords:
        if name not in accepted:
            key = f"{group}.{name}"
            raise ValueError(f"there is no option {key}{_nearest(key, config_dir)}")


def _with_quotes(value: str) -> str:
    """A value as Hydra reads it as text or, in brackets, as a list of texts."""
    if value.startswith("[") and value.endswith("]"):
        return "[" + ",".join(_with_quotes(item.strip()) for item in value[1:-1].split(",")) + "]"
    return value if value[:1] in ("'", '"') else f"'{value}'"


def quoted(key: str, value: str) -> str:
    """The override `key=value`, with the quotes that a shell and Hydra need."""
    return f"{key}={value}" if re.fullmatch(r"[\w/.:-]+", value, re.ASCII) else f"\"{key}='{value}'\""


def _nearest(key: str, config_dir: Path) -> str:
    """What to say after "there is no option <key>": the choices of its group that have it, else the nearest option."""
    group, _, rest = key.partition(".")
    elsewhere = [file.stem for file in sorted((config_dir / group).glob("*.yaml")) if rest and _has(file, rest)]
    if elsewhere:
        choices = " and ".join(f"{group}={choice}" for choice in elsewhere)
        return f" in this {group}, but {choices} {'has' if len(elsewhere) == 1 else 'have'} it"
    names = [*_dotted(_defaults(config_dir)), *HYDRA_GROUPS]
    nearest = get_close_matches(key, names, n=1, cutoff=0.6)
    if not nearest:  # the right name in the wrong place
        by_leaf = {name.rsplit(".", 1)[-1]: name for name in names}
        nearest = [by_leaf[leaf] for leaf in get_close_matches(key.rsplit(".", 1)[-1], by_leaf, n=1, cutoff=0.7)]
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _defaults(config_dir: Path) -> dict[str, Any]:
    """The configuration without any override. Hydra may be running: its state is the same afterwards."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir), version_base="1.3"):
            config = OmegaConf.to_container(compose("train"), resolve=False)
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def _has(file: Path, key: str) -> bool:
    return key in _dotted(yaml.safe_load(file.read_text(encoding="utf-8")))


def _dotted(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if key != "_target_":
            yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{key}.")
