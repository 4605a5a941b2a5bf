"""Where a training command begins: it answers signals and says a first word before it imports anything that is slow."""

import sys
from collections.abc import Sequence
from typing import Any

from contrastive_app.interrupts import listen
from contrastive_app.launched import become_follower, is_follower

# options after which Hydra prints something and ends
ONLY_PRINT = ("--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc")


def main() -> Any:
    """Run the command line. Exits with 130 after Ctrl-C, 143 after SIGTERM, 1 after an error, which takes one line."""
    if is_follower():
        become_follower()
        return _run()
    listen()
    if (text := _asked_for(sys.argv[1:])) is not None:
        print(text)
        return None
    if not any(argument.partition("=")[0] in ONLY_PRINT for argument in sys.argv[1:]):
        print("loading …", file=sys.stderr, flush=True)
    try:
        return _run()
    finally:
        listen()  # everything is closed


def _asked_for(arguments: Sequence[str]) -> str | None:
    """What --help or --version print; both answer without Hydra."""
    from contrastive_app.command_help import help_text, version_text

    try:
        if any(argument in ("--help", "-h") for argument in arguments):
            return help_text(arguments)
    except ValueError as error:
        sys.exit(f"error: {error}")
    return version_text() if "--version" in arguments else None


def _run() -> Any:
    from contrastive_app.train import main as run_command

    return run_command()
