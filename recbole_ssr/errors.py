"""The exceptions that a user should ever see."""

from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can put right: the message says what, the value and the remedy.

    It is one line, also where it quotes another package's message of several.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(line.strip() for line in str(message).splitlines()))


class MissingDataset(UserError):
    """The files of a dataset are not where `folder` says; there may be a way to prepare them."""

    def __init__(self, message: str, dataset: str, folder: str):
        super().__init__(message)
        self.dataset, self.folder = dataset, folder


def nearest(name: str, known, n: int = 1) -> str:
    """Return " Did you mean 'x'?" for the closest of `known` to `name`, or an empty string.

    Of up to `n` close ones, the closest first.

    >>> nearest("lightgnc", ["LightGCN", "BPR"])
    " Did you mean 'LightGCN'?"
    """
    by_lower = {str(k).lower(): str(k) for k in known}
    found = [repr(by_lower[match])
             for match in get_close_matches(str(name).lower(), by_lower, n=n, cutoff=0.5)]
    *first, last = found or [""]
    return f" Did you mean {', '.join(first)}{' or ' * bool(first)}{last}?" if found else ""
