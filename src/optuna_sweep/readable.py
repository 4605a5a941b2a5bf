"""Numbers as people read them."""

from typing import Any


def compact(value: Any) -> str:
    """0.08333 -> 0.0833; anything but a float as it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
