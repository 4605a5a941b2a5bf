"""Names of criteria and domains are text, also those that Hydra takes for numbers: [1], [2024], [1.10], [true]."""

from collections.abc import Collection

from contrastive_learning.choices import check_choice


def means(given: object, name: str) -> bool:
    """Whether `given`, an element of a list in the configuration, stands for `name`.

    >>> means(2024, "2024"), means(1.1, "1.10"), means("1.1", "1.10"), means(True, "true")
    (True, True, False, True)
    """
    if isinstance(given, bool):
        return str(given).lower() == name.lower()
    if not isinstance(given, int | float):
        return given == name
    try:
        return float(name) == given
    except ValueError:
        return False


def resolved(option: str, given: object, names: Collection[str]) -> str:
    """The one of `names` that `given` stands for. Raises ValueError that lists them."""
    found = [str(given)] if str(given) in names else [name for name in names if means(given, name)]
    return found[0] if len(found) == 1 else check_choice(option, str(given), names)
