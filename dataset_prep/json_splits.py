"""Splits in LATTICE's layout: train.json, val.json and test.json, each {"user": [items]}."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.mmrec import MOST_IDS, from_ids
from recbole_ssr.errors import UserError

FILES = (("train.json",), ("val.json", "valid.json"), ("test.json",))


def read_json(files: tuple[Path | None, ...]) -> Interactions:
    """Read train, valid and test (None: no such part), in the order of the files, users as they
    come.

    Raises UserError, with file and user, for a file that is no JSON, and for anything but lists of
    item ids under user ids, whole numbers from 0 on.
    """
    nothing = np.empty(0, np.int64), np.empty(0, np.int64)
    parts = [nothing if path is None else _read(path) for path in files]
    users, items = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    labels = np.repeat(np.arange(3, dtype=np.int8), [len(part[0]) for part in parts])
    return from_ids(users, items, labels=labels)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return users and items of one part, each (n,) int64."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). Restore the file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error}). Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON, or cut off ({error}). Download it again.") from error
    if not isinstance(content, _Pairs):
        raise UserError(f"{path} holds a {type(content).__name__}, not items by user. Write "
                        '{"0": [3, 5], "1": [2]}.')
    lengths, users, items = [], [], []
    seen = set()
    for user, entries in content:
        if not re.fullmatch("[0-9]{1,10}", user) or int(user) > MOST_IDS:
            raise UserError(f"{path}: the user id {user[:60]!r} is no whole number from 0 on. "
                            "Number the users.")
        if int(user) in seen:
            raise UserError(f"{path}: user {user} comes twice. Join the two lists.")
        seen.add(int(user))
        if type(entries) is not list:
            raise UserError(f"{path}: user {user} has {entries!r:.60} instead of a list of item "
                            "ids.")
        for item in entries:
            if type(item) is not int or not 0 <= item <= MOST_IDS:
                raise UserError(f"{path}: user {user} has the item {item!r:.60}. Item ids are "
                                "whole numbers from 0 on.")
        users.append(int(user))
        lengths.append(len(entries))
        items += entries
    return (np.repeat(np.array(users, dtype=np.int64), lengths), np.array(items, dtype=np.int64))


class _Pairs(list):
    """Keys and values of a JSON object, repeated keys included."""
