"""Command lines in messages that ask a person to type them."""

import shlex
import shutil
import sys
from pathlib import Path


def this_command() -> str:
    """The command line of this process as a shell takes it: "python -m src.train -m 'loss.temperature=0.1,0.2'"."""
    return shlex.join([*_program(Path(sys.argv[0])), *sys.argv[1:]])


def as_typed(program: Path) -> str:
    """What a person types to start `program`: its name if that finds it, else its path, from the working directory.

    python, in an activated environment; .venv/bin/python beside one that is not.
    """
    found = shutil.which(program.name)
    if found is not None and Path(found).parent.samefile(program.parent):
        return program.name
    here = Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)


def _program(script: Path) -> list[str]:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None:
        return [as_typed(Path(sys.executable)), "-m", module.name]
    if script.suffix == ".py":
        return [as_typed(Path(sys.executable)), str(script)]
    return [as_typed(script.absolute())]  # a console command, such as contrastive-train
