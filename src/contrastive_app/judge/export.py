"""Writes a trained judge as a folder that other libraries load, with a model card written from its run."""

import argparse
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contrastive_app.judge.models import FORMS, find_judge, settings_of
from contrastive_app.judge.origin import Origin, origin_of
from contrastive_app.places import command

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

CARD = "README.md"
TOKEN = "HF_TOKEN"  # the environment variable
MOST_CHECKED = 64  # responses on which an export is compared with the judge
EXAMPLES = [  # if no response is recorded
    {"context": ["어디로 갈까?", "바다 어때요?"], "response": "좋아요."},
    {"context": [], "response": "OK"},
]


def export(arguments: Sequence[str]) -> None:
    """Run the command line `judge export …`. Raises ValueError with one line."""
    from rich.console import Console

    chosen = _parser().parse_args(arguments)
    out: Path = chosen.out
    if out.exists():
        raise ValueError(f"{out} exists already: remove it, or choose another OUT")
    if not out.resolve().parent.is_dir():
        raise ValueError(f"OUT must be in a folder that exists, got {out}")
    token = os.environ.get(TOKEN)
    if chosen.push is not None and not token:
        raise ValueError(f"--push needs a token of the hub in the environment variable {TOKEN}")
    _check_installed("sentence_transformers", "huggingface")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=out.resolve().parent) as beside:
        folder, which = find_judge(chosen.model, chosen.store, Path(scratch))
        console.print(f"judge: {which}")
        origin = origin_of(folder, chosen.model, chosen.store, Path(scratch))
        written = Path(beside) / out.name
        _huggingface(folder, written, origin, console)
        written.replace(out)
    console.print(f"exported: {out}")
    if chosen.push is not None:
        console.print(f"pushed: {_push(out, chosen.push, token)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{command('judge')} export", description=__doc__)
    default = "by default the best run of the latest sweep, else the latest run"
    parser.add_argument("model", nargs="?", metavar="MODEL", help=f"{FORMS}; {default}")
    parser.add_argument("out", type=Path, metavar="OUT", help="the new folder")
    parser.add_argument("--store", help="MLflow's address or SQLite file; by default $MLFLOW_TRACKING_URI or mlflow.db")
    parser.add_argument(
        "--push", metavar="HUB_ID", help=f"upload it to this private model of the hub; ${TOKEN} opens it"
    )
    return parser


def _check_installed(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"this format needs the package {package}: pip install 'contrastive-quality[{extra}]'")


def _huggingface(folder: Path, out: Path, origin: Origin | None, console: "Console") -> None:
    from transformers.utils import logging

    from contrastive_app.judge.card import card
    from contrastive_app.judge.scores import load
    from contrastive_learning.serving.huggingface import check_equal, write_huggingface

    logging.disable_progress_bar()
    settings = settings_of(folder)
    write_huggingface(folder, out)
    shutil.copy(folder / "NOTICE", out / "NOTICE")
    difference, number = check_equal(load(folder), out, _responses(origin))
    console.print(f"checked: probabilities of {number} responses differ by {difference:.1g} at most")
    notes = [
        "A response that is too long by itself loses its start here, its end in the judge that was trained.",
    ]
    if settings["precision"] != "fp32":
        notes.append(
            f"It was trained and measured in {settings['precision']}; in fp32, probabilities differ by rounding."
        )
    usage = HUGGINGFACE_USAGE
    (out / CARD).write_text(
        card(settings, origin, usage, library="sentence-transformers", notes=notes), encoding="utf-8"
    )


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
