"""One wording for a value that is not among the choices."""

from collections.abc import Iterable
from difflib import get_close_matches


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value`, or raise ValueError that lists the choices and the nearest one."""
    choices = list(choices)
    if value in choices:
        return value
    raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value}{did_you_mean(value, choices)}")


def did_you_mean(value: str, choices: Iterable[str]) -> str:
    nearest = get_close_matches(str(value), list(choices), n=1, cutoff=0.5)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
