"""The papers and README files say what is true: links, commands and names in them exist."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from hashlib import sha256

import pytest
import yaml

from contrastive_learning.model import ScratchEncoder
from local_slots.settings import LocalLauncherConf
from optuna_sweep.settings import PRUNERS, SAMPLERS, ConfirmConf, OptunaSweeperConf
from support.commands import ROOT, SMALL, run, train

GITHUB, CONF, SRC = ROOT / ".github", ROOT / "conf", ROOT / "src"
FOLDERS = [ROOT / name for name in (".ci", ".github", "conf", "src", "sweeps", "tests")]
DOCS = sorted([ROOT / "README.md", *(path for folder in FOLDERS for path in folder.rglob("*.md"))])
YAML = [*GITHUB.rglob("*.yml"), GITHUB / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]
MAKE_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_OURS = {"plot.py", "utils.py", "common.py", "helpers.py"}  # a reader's script, and names that are refused


def name(path):
    return str(path.relative_to(ROOT))


def read(path):
    return path.read_text(encoding="utf-8")


def blocks(text):
    """Language and content of each fenced block."""
    return FENCE.findall(text)


def spans(text):
    """The pieces of inline code."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def code(text):
    return "\n".join([*(content for _, content in blocks(text)), *spans(text)])


def sections(text):
    return re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)


def anchors(text):
    """What GitHub makes of the headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(text)}


def table(text, heading):
    """The cells of the first table under a heading, without its head."""
    section = re.split(rf"^#+ {heading}$", text, flags=re.MULTILINE)[1]
    rows = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE).group().splitlines()
    return [row.strip("| ").split(" | ") for row in rows[2:]]


def commands(text):
    """The fenced blocks without what a translation changes: comments, the words of a map, the labels of a drawing."""
    for language, content in blocks(text):
        if language == "text":
            yield [re.match(r" *\S+", line).group() for line in content.splitlines()]
        elif language != "mermaid":
            yield re.sub(r"(^|\s+)#.*", "", content)


def files_linked(path):
    """Where the links lead, in order of the alphabet; not to which heading, since those are translated."""
    links = [link.partition("#")[0] for link in links_of(read(path)) if not link.startswith("https://")]
    readmes = {ROOT / "README.md", GITHUB / "README.ko.md"}  # each links to the other
    return sorted({str((path.parent / link).resolve()) for link in links} - set(map(str, readmes)))


def links_of(text):
    text = FENCE.sub("", text)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)


def keys(node, prefix) -> Iterator[str]:
    yield prefix
    if isinstance(node, dict):
        for key, value in node.items():
            yield from keys(value, f"{prefix}.{key}")


def option_names():
    for file in CONF.glob("*/*.yaml"):
        yield from keys(yaml.safe_load(read(file)), file.parent.name)
    top = {key: value for key, value in yaml.safe_load(read(CONF / "train.yaml")).items() if key != "defaults"}
    for key, value in top.items():
        yield from keys(value, key)
    described = {"sweeper": OptunaSweeperConf, "sweeper.confirm": ConfirmConf, "launcher": LocalLauncherConf}
    for group, conf in described.items():
        yield from (f"hydra.{group}.{field.name}" for field in fields(conf))
    yield "hydra.launcher.partition"  # of Slurm's launcher, which is an extra
    yield "hydra.job.chdir"  # Hydra's own


def test_the_licence_is_the_standard_text_with_the_copyright_line_filled_in():
    text, ours = read(ROOT / "LICENSE"), "Copyright 2026 contrastive-quality contributors"
    assert text.count(ours) == 1
    blank = text.replace(ours, "Copyright [yyyy] [name of copyright owner]")
    # of https://www.apache.org/licenses/LICENSE-2.0.txt
    assert sha256(blank.encode()).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.mark.parametrize("path", YAML, ids=name)
def test_yaml_is_valid_and_calls_make_targets_that_exist(path):
    assert yaml.safe_load(read(path))
    called = re.findall(r"run: make ([\w-]+)", read(path))
    assert called or path.parent.name != "workflows"
    assert set(called) <= MAKE_TARGETS


def test_pre_commit_formats_with_the_ruff_that_lints_here():
    repositories = yaml.safe_load(read(ROOT / ".pre-commit-config.yaml"))["repos"]
    (rev,) = (each["rev"] for each in repositories if each["repo"].endswith("ruff-pre-commit"))
    assert f"ruff=={rev.removeprefix('v')}" in read(ROOT / ".ci/constraints.txt").splitlines()


def test_make_help_says_what_each_target_does():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([\w-]+) +\S", out, re.MULTILINE)) == MAKE_TARGETS


def test_the_readme_is_short():
    assert len(read(ROOT / "README.md").splitlines()) <= 150


def test_the_readme_in_korean_says_the_same():
    """Same sections, pictures, links, commands and options; the words, also those of comments, are Korean."""
    english, korean = read(ROOT / "README.md"), read(GITHUB / "README.ko.md")
    assert "(.github/README.ko.md)" in english.splitlines()[0]
    assert "(../README.md)" in korean.splitlines()[0]
    assert re.findall(r"^#+ ", korean, re.MULTILINE) == re.findall(r"^#+ ", english, re.MULTILINE)
    assert list(commands(korean)) == list(commands(english))
    assert sorted(spans(korean)) == sorted(spans(english))
    assert files_linked(GITHUB / "README.ko.md") == files_linked(ROOT / "README.md")


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_link_leads_somewhere(path):
    for link in links_of(read(path)):
        file, _, anchor = link.partition("#")
        if link.startswith("https://"):
            continue
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(read(target)), link


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_make_target_option_and_choice_exists(path):
    text = code(read(path))
    assert set(re.findall(r"\bmake ([a-z][\w-]*)", text)) <= MAKE_TARGETS
    # neither `key: value` of YAML nor an argument within a value
    overrides = re.findall(r"(?<![\w./+~-])([a-z_]+(?:\.[a-z_]+)+)=", text)
    assert set(overrides) <= set(option_names())
    groups = "|".join(folder.name for folder in CONF.iterdir() if folder.is_dir()) + "|hydra/launcher"
    for group, values in re.findall(rf"(?<![\w./])({groups})=([\w,]+)", text):
        assert {f"{value}.yaml" for value in values.split(",")} <= {file.name for file in (CONF / group).iterdir()}


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_file_named_in_code_exists(path):
    tracked = [file for folder in FOLDERS for file in folder.rglob("*") if "__pycache__" not in file.parts]
    known = [f"/{name(file)}" for file in [*tracked, *ROOT.iterdir()]]
    files = (span for span in spans(read(path)) if re.fullmatch(r"[\w./-]+(\.(py|yaml|toml|txt|md|cff)|/)", span))
    for span in set(files) - NOT_OURS:
        wanted = f"/{span.rstrip('/')}"
        assert any(file.endswith(wanted) for file in known), span


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_every_python_block_is_python(path):
    for language, content in blocks(read(path)):
        if language == "python":
            ast.parse(content)


def test_the_config_groups_are_those_of_the_folder_default_first():
    rows = table(read(CONF / "README.md"), "Config groups")
    told = {group.strip("`"): re.findall(r"`(\w+)`", choices) for group, choices, _ in rows}
    there = {group: {file.stem for file in (CONF / group).glob("*.yaml")} for group in told}
    assert {group: set(choices) for group, choices in told.items()} == there
    assert told.keys() == {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"} | {"hydra/launcher"}
    defaults = {
        key: value
        for entry in yaml.safe_load(read(CONF / "train.yaml"))["defaults"]
        if isinstance(entry, dict)
        for key, value in entry.items()
    }
    assert {group: choices[0] for group, choices in told.items()} == {
        group: defaults.get(group, defaults.get(f"override {group}")) for group in told
    }


def test_the_studies_samplers_and_pruners_are_those_that_exist():
    text = read(ROOT / "sweeps/README.md")
    studies = {re.match(r"\[(\w+)\]", row[0]).group(1) for row in table(text, "Sweeps")}
    assert studies == {file.stem for file in (ROOT / "sweeps").glob("*.yaml")}
    rows = {row[0]: set(re.findall(r"`(\w+)`", row[1])) for row in table(text, "Keys of the sweeper")}
    assert rows["`hydra/sweeper/sampler=`"] == SAMPLERS.keys()
    assert rows["`hydra/sweeper/pruner=`"] == PRUNERS.keys()
    named = {key for row in rows if "=" not in row for key in re.findall(r"`(\w+)`", row)}
    assert named <= {field.name for field in fields(OptunaSweeperConf)}


def test_the_file_map_shows_every_folder():
    (content,) = (content for language, content in blocks(read(ROOT / "README.md")) if language == "text")
    shown, folder = set(), ROOT
    for line in content.splitlines():
        path = (folder if line.startswith(" ") else ROOT) / line.split()[0]
        assert path.is_dir(), line
        shown.add(path)
        folder = folder if line.startswith(" ") else path
    rooms = [*SRC.iterdir(), *(SRC / "contrastive_learning").iterdir()]
    assert {path for path in rooms if path.is_dir() and path.name != "__pycache__"} <= shown


def test_the_example_of_the_library_runs_as_printed(tmp_path, monkeypatch):
    """Only its size is changed: fewer responses, and a small encoder that is not downloaded."""
    (script,) = (content for language, content in blocks(read(ROOT / "README.md")) if language == "python")
    small = ScratchEncoder(vocab_size=300, hidden_size=16, num_layers=1, num_heads=2, max_positions=256, dropout=0.0)
    tokenizer = small.tokenizer(["안녕하세요 오늘 날씨 어때요"])
    tokenizer.save_pretrained(tmp_path)
    small.encoder(tokenizer).save_pretrained(tmp_path)
    for printed, smaller in {
        "SampleData()": "SampleData(train_size=64, valid_size=32, test_size=0, test_ood_size=0)",
        '"klue/roberta-base"': repr(str(tmp_path)),
        '"epochs": 5': '"epochs": 1',
    }.items():
        assert printed in script
        script = script.replace(printed, smaller)
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(script, made)
    assert made["trainer"].epoch == 1
    assert "macro_f1" in made["trainer"].evaluate()


@pytest.mark.slow
def test_the_script_that_plots_a_recorded_run_runs(tmp_path):
    done = train(tmp_path, *SMALL, "trainer.epochs=1")
    run_id = re.search(r"Recorded: run (\w+)", done.stdout + done.stderr).group(1)
    (script,) = (content for language, content in blocks(read(SRC / "README.md")) if language == "python")
    (tmp_path / "plot.py").write_text(script, encoding="utf-8")
    run("plot.py", run_id, cwd=tmp_path, check=True)
    assert (tmp_path / "embeddings.png").read_bytes().startswith(b"\x89PNG")
