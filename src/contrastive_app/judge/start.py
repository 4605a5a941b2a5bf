"""Where the judge command begins: it answers signals and says a first word before it imports anything that is slow."""

import sys

from contrastive_app.interrupts import listen
from contrastive_app.launched import is_follower

ONLY_PRINT = ("--help", "-h", "--version")


def main() -> None:
    """Run the command line. Exits with 130 after Ctrl-C, 143 after SIGTERM, 1 after an error, which takes one line."""
    if not is_follower():
        listen()
        if not any(argument in ONLY_PRINT for argument in sys.argv[1:]):
            print("loading …", file=sys.stderr, flush=True)
    from contrastive_app.judge.command import main as run_command

    run_command()
