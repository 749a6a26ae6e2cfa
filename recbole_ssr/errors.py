"""The one exception that a user should ever see."""

from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can put right: the message says what, the value and the remedy."""


def nearest(name: str, known) -> str:
    """Return " Did you mean 'x'?" for the closest of `known` to `name`, or an empty string."""
    by_lower = {str(k).lower(): str(k) for k in known}
    match = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""
