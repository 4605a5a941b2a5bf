"""Writes a trained judge as a folder for other libraries or another runtime, with a model card written from its run."""

import argparse
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrastive_app.judge.models import FORMS, find_judge, settings_of
from contrastive_app.judge.origin import Origin, origin_of
from contrastive_app.places import command

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from contrastive_app.judge.speed import Voted

CARD = "README.md"
TOKEN = "HF_TOKEN"  # the environment variable
EXTRAS = {"hf": "huggingface", "onnx": "onnx", "openvino": "openvino"}  # format -> extra that installs what it needs
LARGEST_DIFFERENCE = 1e-4  # of a probability, in fp32
MOST_CHECKED = 64  # responses on which an export is compared with the judge
EXAMPLES = [  # if no response is recorded
    {"context": ["어디로 갈까?", "바다 어때요?"], "response": "좋아요."},
    {"context": [], "response": "OK"},
]


@dataclass(frozen=True)
class _Source:
    """What is exported."""

    folder: Path  # with judge.json
    origin: Origin | None
    console: "Console"


def export(arguments: Sequence[str]) -> None:
    """Run the command line `judge export …`. Raises ValueError with one line."""
    from rich.console import Console

    chosen = _parser().parse_args(arguments)
    token = _check(chosen)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    out: Path = chosen.out
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=out.resolve().parent) as beside:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        console.print(f"judge: {which}")
        if "runtime" in settings_of(folder):
            raise ValueError(f"{which} is an export itself: give the judge that it was made of")
        source = _Source(folder, origin_of(folder, chosen.model, chosen.store, Path(scratch)), console)
        written = Path(beside) / out.name
        if chosen.format == "hf":
            _huggingface(source, written)
        else:
            _compiled(source, written, chosen.format, chosen.int8, chosen.data)
        written.replace(out)
    console.print(f"exported: {out}")
    if chosen.push is not None:
        console.print(f"pushed: {_push(out, chosen.push, token)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{command('judge')} export", description=__doc__)
    default = "by default the best run of the latest sweep, else the latest run"
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"{FORMS}; {default}")
    parser.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    formats = (
        "hf: for sentence-transformers and transformers; onnx, openvino: for this command and MLflow, faster on CPUs"
    )
    parser.add_argument("--format", choices=EXTRAS, default="hf", help=formats)
    told = "round to int8, unless that loses AUROC on the run's valid split"
    parser.add_argument("--int8", action="store_true", help=f"with onnx and openvino: {told}")
    parser.add_argument("--data", metavar="FILE", help="responses with votes to measure on instead of that split")
    parser.add_argument("--store", help="MLflow's address or SQLite file; by default $MLFLOW_TRACKING_URI or mlflow.db")
    parser.add_argument(
        "--push", metavar="HUB_ID", help=f"upload it to this private model of the hub; ${TOKEN} opens it"
    )
    return parser


def _check(chosen: argparse.Namespace) -> str | None:
    """What is wrong before any work. Returns the token of the hub."""
    from contrastive_learning.data.files import existing
    from contrastive_learning.data.tables import READABLE, READERS, suffix_of

    out: Path = chosen.out
    if out.exists():
        raise ValueError(f"{out} exists already: remove it, or choose another OUT")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"OUT must be in a folder that exists, got {out}")
    if chosen.format == "hf" and (chosen.int8 or chosen.data):
        raise ValueError("--int8 and --data belong to --format onnx or openvino")
    if chosen.data is not None and suffix_of(existing(chosen.data, "--data")) not in READERS:
        raise ValueError(f"--data must end in {READABLE}; got {chosen.data}")
    token = os.environ.get(TOKEN)
    if chosen.push is not None and not token:
        raise ValueError(f"--push needs a token of the hub in the environment variable {TOKEN}")
    for package in _packages(chosen.format, chosen.int8):
        if importlib.util.find_spec(package) is None:
            extra = f"pip install 'contrastive-quality[{EXTRAS[chosen.format]}]'"
            raise ValueError(f"--format {chosen.format} needs {package}: {extra}")
    return token


def _packages(name: str, int8: bool) -> list[str]:
    if name == "hf":
        return ["sentence_transformers"]
    from contrastive_learning.serving.compiled import packages_to_write

    return packages_to_write(name, int8=int8)


def _huggingface(source: _Source, out: Path) -> None:
    from transformers.utils import logging as transformers_logging

    from contrastive_app.judge.card import card
    from contrastive_app.judge.scores import load
    from contrastive_learning.serving.huggingface import check_equal, write_huggingface

    transformers_logging.disable_progress_bar()
    settings = settings_of(source.folder)
    write_huggingface(source.folder, out)
    shutil.copy(source.folder / "NOTICE", out / "NOTICE")
    difference, number = check_equal(load(source.folder), out, _responses(source.origin))
    _tell_checked(source, difference, number)
    notes = ["A response that is too long by itself loses its start here, its end in the judge that was trained."]
    text = card(settings, source.origin, HUGGINGFACE_USAGE, library="sentence-transformers", notes=notes)
    (out / CARD).write_text(text, encoding="utf-8")


def _compiled(source: _Source, out: Path, runtime: str, int8: bool, data: str | None) -> None:
    from contrastive_app.judge.card import card, table
    from contrastive_app.judge.scores import load
    from contrastive_app.judge.speed import HEAD, MOST_AUROC_LOST, cells_of, measure, table_of
    from contrastive_learning.serving.compiled import write_compiled, write_int8
    from contrastive_learning.tracking.models import write_model
    from mlflow_stores import quiet_client_settings

    quiet_client_settings()
    settings = settings_of(source.folder)
    voted = _voted(source.origin, data, settings["criteria"])
    if int8 and voted is None:
        raise ValueError("--int8 is chosen on responses with votes, and the run's are not recorded: give --data FILE")
    fp32, name = out.with_name("fp32") / "judge", f"{runtime} fp32"
    write_compiled(source.folder, fp32, runtime)
    judge, best = load(source.folder), fp32
    judge.dtype = None  # in fp32
    judges = {"torch fp32": judge, name: load(fp32)}
    _tell_checked(source, *_difference(judge, judges[name], _responses(source.origin)))
    notes, measured = [], None
    if int8:
        assert voted is not None
        rounded = out.with_name("int8") / "judge"
        write_int8(fp32, rounded, judge.tokens(voted.rows["context"], voted.rows["response"]))
        judges[f"{runtime} int8"] = load(rounded)
    if voted is not None:
        found = measure(judges, voted)
        cells = cells_of(found, len(voted.rows), name)
        where = f"{len(voted.rows):,} responses of {'valid' if data is None else Path(data).name}"
        source.console.print(table_of(cells, f"On {where}, compared with {name}"))
        if int8:
            lost = found[name].auroc - found[f"{runtime} int8"].auroc
            best = rounded if lost < MOST_AUROC_LOST else fp32
            source.console.print(
                f"int8 loses {lost:.4f} of AUROC: {'kept' if best is rounded else 'not kept, fp32 is'}"
            )
        measured = f"On {where}, on the machine that exported it, compared with {name}.\n\n{table(HEAD, cells)}"
        notes = (
            ["The network is rounded to int8, so probabilities differ from those measured."] if best is not fp32 else []
        )
    write_model(out, best, settings["criteria"])
    text = card(settings, source.origin, COMPILED_USAGE, library=runtime, notes=notes, speed=measured)
    (out / CARD).write_text(text, encoding="utf-8")


def _difference(judge: Any, other: Any, rows: "pd.DataFrame") -> tuple[float, int]:
    """The largest difference of a probability, and on how many rows. Raises ValueError if it is too large."""
    columns = [f"probability/{criterion}" for criterion in judge.settings["criteria"]]
    first, second = (each.predict(None, rows)[columns].to_numpy() for each in (judge, other))
    difference = float(abs(first - second).max())
    if difference > LARGEST_DIFFERENCE:
        raise ValueError(f"the compiled network's probabilities differ by {difference:.2g} from the judge's: use hf")
    return difference, len(rows)


def _tell_checked(source: _Source, difference: float, number: int) -> None:
    source.console.print(
        f"checked in fp32: probabilities of {number} responses differ by {difference:.1g} at most from the judge's"
    )
    if (trained := settings_of(source.folder)["precision"]) != "fp32":
        source.console.print(f"the run's own figures are those of {trained}, which rounds in the third decimal")


COMPILED_USAGE = """\
A model of MLflow that computes on CPUs; `requirements.txt` names what it needs.

```bash
mlflow models serve -m THIS_FOLDER --env-manager local
contrastive-judge responses.jsonl --model THIS_FOLDER  # with contrastive-quality installed
```

```py
import mlflow
import pandas as pd

judge = mlflow.pyfunc.load_model("THIS_FOLDER")
rows = [{"context": ["Where shall we go?", "How about the sea?"], "response": "There is a breeze, it is cool."}]
print(judge.predict(pd.DataFrame(rows)))  # probability/…, decision/… and vote_share/… per criterion
```"""


HUGGINGFACE_USAGE = """\
Needs sentence-transformers 6 or later, and no remote code.

```py
import torch
from sentence_transformers import SentenceTransformer

judge = SentenceTransformer("PATH_OR_HUB_ID")
config = judge[0].model.config
dialogue, response = ["Where shall we go?", "How about the sea?"], "There is a breeze, it is cool."  # oldest turn first
texts = [judge.tokenizer.sep_token.join([*dialogue, response])]  # one per response
judged = judge.encode(texts, output_value=None)
probabilities = torch.stack([row["probabilities"] for row in judged])  # [responses, criteria]
decisions = probabilities.cpu() > torch.tensor(config.thresholds)
vote_shares = torch.stack([row["vote_shares"] for row in judged])  # expected shares of yes votes
criteria = list(config.id2label.values())
embeddings = judge.encode(texts)  # of the contrastive head, unit norm
```

`AutoModel` and `AutoTokenizer` of transformers load the encoder; the heads are the modules in `modules.json`."""


def _responses(origin: Origin | None) -> "pd.DataFrame":
    """Some responses, with contexts, on which an export is checked."""
    import pandas as pd
    import pyarrow.parquet as pq

    if origin is None or not origin.splits:
        return pd.DataFrame(EXAMPLES)
    file = origin.splits.get("valid") or next(iter(origin.splits.values()))
    rows = next(pq.ParquetFile(file).iter_batches(MOST_CHECKED, columns=["context", "response"]))
    return pd.DataFrame(rows.to_pylist())


def _voted(origin: Origin | None, data: str | None, criteria: Sequence[str]) -> "Voted | None":
    """Responses with votes: of the file `data`, else of the run's valid split, if it is recorded."""
    from contrastive_app.judge.speed import Voted
    from contrastive_learning.data.reading import Reader, ReadingRules

    if data is not None:
        rules = ReadingRules("auto", None, hash_annotators=False, criteria=criteria)
        return Voted.read(Reader(rules).each("row", Path(data).expanduser()), criteria)
    if origin is None or "valid" not in origin.splits:
        return None
    return Voted.recorded(origin.splits["valid"])


def _push(folder: Path, hub_id: str, token: str | None) -> str:
    """Upload the folder to a model of the hub, which is made, private, if it does not exist. Returns its address."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        address = api.create_repo(hub_id, private=True, exist_ok=True)
        api.upload_folder(folder_path=folder, repo_id=hub_id, commit_message="Upload a response-quality judge")
    except HfHubHTTPError as error:
        raise ValueError(f"--push {hub_id}: {str(error).strip().splitlines()[0]}") from error
    return str(address)
