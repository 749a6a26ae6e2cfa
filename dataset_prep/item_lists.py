"""Splits in LightGCN's layout: train.txt and test.txt, a line `user item item ...` per user."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.lines import first_line, read_lines
from recbole_ssr.dataset_prep.mmrec import MOST_IDS, from_ids
from recbole_ssr.errors import UserError

# Numbers in each line of a table: user, item, rating, and a time.
_OF_TABLES = ({3}, {4})
FILES = (("train.txt",), ("valid.txt", "val.txt"), ("test.txt",))


def read_lists(files: tuple[Path | None, ...]) -> Interactions:
    """Read train, valid and test (None: no such part), in the order of the files.

    A user without items has a line of his own id. Raises UserError, with file and line, for what
    `read_lines` refuses and for anything but whole numbers from 0 on; and for a table of ratings.
    """
    parts = [_read(path) for path in files]
    users, items = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    labels = np.repeat(np.arange(3, dtype=np.int8), [len(part[0]) for part in parts])
    return from_ids(users, items, labels=labels)


def _read(path: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return users and items of one part, each (n,) int64."""
    users: list[int] = []
    items: list[int] = []
    firsts, widths = [], set()
    if path is not None:
        first_line(path)  # refuses an empty file
        for number, line in read_lines(path):
            ids = [_id(path, number, word) for word in line.split()]
            users += ids[:1] * (len(ids) - 1)
            items += ids[1:]
            firsts += ids[:1]
            widths.add(len(ids))
    if widths in _OF_TABLES and len(set(firsts)) < len(firsts):
        raise UserError(f"{path} has {widths.pop()} numbers in every line and several lines of a "
                        "user: a table of user, item, rating and the like, and no lists of items. "
                        "Divide its columns by tabs or commas, name them in a first line, and "
                        "import it with --interactions.")
    return np.array(users, dtype=np.int64), np.array(items, dtype=np.int64)


def _id(path: Path, number: int, word: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", word) or int(word) > MOST_IDS:
        raise UserError(f"{path}, line {number}: {word[:60]!r} is no whole number from 0 on. Write "
                        "a user and his items, divided by blanks, on every line.")
    return int(word)
