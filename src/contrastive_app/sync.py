"""Sends the records that a tracking server has not received yet. Finds them in the output folders of ended runs."""

import argparse
import sys
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

from contrastive_app.command_help import ShowVersion
from contrastive_app.places import command
from contrastive_app.resume import read_run
from contrastive_app.secrets import redact_output


def main() -> None:
    parser = argparse.ArgumentParser(prog=command("sync"), description=__doc__)
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("folders", nargs="*", type=Path, help="searched; by default outputs and multirun")
    redact_output()
    given = parser.parse_args().folders
    for folder in given:
        if not folder.is_dir():
            sys.exit(f"error: an output folder must exist, got {folder}")
    folders = given or [Path("outputs"), Path("multirun")]
    from contrastive_learning.tracking.outbox import OUTBOX

    found = sorted(path.parent for folder in folders for path in folder.rglob(OUTBOX))
    if not found:
        print(f"nothing waits to be sent in {', '.join(map(str, folders))}")
    sent = [_sync(output) for output in found]
    if not all(sent):
        sys.exit(f"error: {sent.count(False)} of {len(sent)} runs still wait to be sent")


def _sync(output: Path) -> bool:
    config = OmegaConf.load(output / ".hydra" / "config.yaml")
    try:
        run_id = read_run(output, "run_id")["run_id"]
        sent: bool = instantiate(config.tracking).send_outbox(run_id, output)
    except Exception as error:  # noqa: BLE001  whatever a server answers: the other runs are still sent
        print(f"{output}: {error}", file=sys.stderr)
        return False
    if sent:
        print(f"{output}: sent")
    return sent
