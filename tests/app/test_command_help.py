"""What --help and --version say."""

import argparse
import re

import pytest

from contrastive_app.command_help import EXAMPLES, ShowVersion, help_text
from contrastive_app.places import CONF
from support.commands import TRAIN, run


def test_every_group_is_a_line_with_its_choices_and_comments_are_kept():
    text = help_text(["--help", "loss=instance", "loss.temperature=0.3"])
    for group in ("data", "model", "loss", "sampler", "optimizer", "trainer", "judge", "tracking", "hydra/launcher"):
        (line,) = re.findall(rf"^  {group} +([\w, ]+)$", text, re.MULTILINE)
        assert sorted(line.split(", ")) == sorted(file.stem for file in (CONF / group).glob("*.yaml"))
    assert re.search(r"^  loss +supcon, ", text, re.MULTILINE)
    assert "\nloss:  # loss=instance\n  # BCE + instance_weight x instance discrimination" in text
    assert "\n  instance_weight: 0.1  # needs trainer.views=2\n" in text
    assert "_target_" not in text
    assert text.endswith("\n  direction: maximize")
    assert max(map(len, text.partition("Options, with")[0].splitlines())) <= 120
    assert re.search(
        r"^  temperature_lambda +The two numbers that shape the embedding space, on a log scale; .* …$",
        text,
        re.MULTILINE,
    )


def test_a_mistyped_choice_is_named():
    with pytest.raises(ValueError, match=r"^there is no loss=supconn: supcon, agreement"):
        help_text(["loss=supconn"])


def test_the_examples_compose(tmp_path):
    """Those that are one run: a sweep's are in the README files, which are tested."""
    from hydra import compose, initialize_config_dir

    single = [given for given in EXAMPLES if not re.search(r"-m |--config-name|\(nothing\)|FOLDER", given)]
    assert len(single) == 4
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for given in single:
            compose("train", given.split())


def test_a_version_is_one_line_of_the_other_commands_too(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", action=ShowVersion)
    with pytest.raises(SystemExit):
        parser.parse_args(["--version"])
    line = capsys.readouterr().out
    assert re.fullmatch(r"contrastive-quality [\d.]+ \(torch \S+, mlflow \S+, hydra-core \S+, Python [\d.]+\)\n", line)


def test_help_and_version_answer_without_hydra(tmp_path):
    for option in ("--help", "--version"):
        done = run("-X", "importtime", *TRAIN, option, cwd=tmp_path, new_interpreter=True)
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "argparse" in imported
        assert not imported & {"hydra", "omegaconf", "torch"}
        assert done.stdout
