"""The command line of this process, for messages that ask a person to repeat it."""

import shlex
import shutil
import sys
from pathlib import Path


def this_command() -> str:
    """The command line as a shell takes it: "python -m src.train -m 'loss.temperature=0.1,0.2'"."""
    return shlex.join([*_program(Path(sys.argv[0])), *sys.argv[1:]])


def _program(script: Path) -> list[str]:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    if module is not None:
        return ["python", "-m", module.name]
    if script.suffix == ".py":
        return ["python", str(script)]
    found = shutil.which(script.name)  # a console command, such as contrastive-train
    return [script.name if found is not None and Path(found).samefile(script) else str(script)]
