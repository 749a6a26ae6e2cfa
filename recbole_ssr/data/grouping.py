"""Rows by the user they belong to, in the order in which users appear."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Groups:
    """Rows of equal keys; iterating yields the rows of each key, ascending.

    Shapes: keys (E,); rows (E,), one key after the other; lengths (G,) of them.

    >>> [rows.tolist() for rows in Groups(np.array([7, 3, 7, 7]))]
    [[0, 2, 3], [1]]
    """

    def __init__(self, keys: np.ndarray):
        _, first, key, count = np.unique(keys, return_index=True, return_inverse=True,
                                         return_counts=True)
        appears = np.argsort(first)
        place = np.empty(len(first), dtype=np.int64)
        place[appears] = np.arange(len(first))
        self.rows = np.argsort(place[key], kind="stable")
        self.lengths = count[appears]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.split(self.rows, np.cumsum(self.lengths)[:-1]) if len(self.rows) else ())

    def split(self, borders: np.ndarray) -> list[np.ndarray]:
        """Return rows by part: those of a group from one of its borders to the next.

        Shapes: borders (G, parts - 1), ascending positions within a group.
        """
        group = np.repeat(np.arange(len(self.lengths)), self.lengths)
        position = np.arange(len(self.rows)) - (np.cumsum(self.lengths) - self.lengths)[group]
        part = np.zeros(len(self.rows), dtype=np.int8)
        for border in borders.T:
            part += position >= border[group]
        return [self.rows[part == k] for k in range(borders.shape[1] + 1)]
