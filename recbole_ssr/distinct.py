"""The distinct ones of many integers."""

from __future__ import annotations

import numpy as np


def distinct(values: np.ndarray) -> np.ndarray:
    """Return the distinct integers among `values` (n,), ascending.

    By sorting: np.unique hashes integers since numpy 2.3, which takes ten seconds for eight million
    pairs of user and item instead of a tenth of one.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    ordered = np.sort(values, axis=None)
    first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]
