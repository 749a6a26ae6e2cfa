"""What a run ranked for every user, and what a split holds: all that metrics need, as arrays.

Metrics of users, of groups and beyond accuracy come from these two, so that a new question needs no
new training. Ids are RecBole's, 0 being padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr import seal
from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step

PARTS = ("valid", "test")


class Ranking(NamedTuple):
    """The best items of every user of a part.

    Shapes: users (n,) int32, ascending; items (n, K) int32, best first, padding behind the last
    where a user has fewer than K that are not masked.
    """

    users: np.ndarray
    items: np.ndarray


class Interactions(NamedTuple):
    """The interactions of every part.

    Shapes: train, valid, test (2, E) int32, users and items. `n_users` and `n_items` count the
    padding. `ids` is a hash of the tokens in the order of their ids: equal ids, equal meaning.
    """

    n_users: int
    n_items: int
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    fingerprint: str
    ids: str


def write_rankings(path: Path, rankings: dict[str, Ranking], ids: str) -> None:
    """Write the rankings of a run by part, in one step."""
    arrays = {f"{part}_{name}": value for part, ranking in rankings.items()
              for name, value in ranking._asdict().items()}
    _write(path, ids=np.array(ids), **arrays)


def read_rankings(path: Path) -> tuple[dict[str, Ranking], str]:
    """Return the rankings by part, and the hash of the ids. Raises UserError where damaged."""
    with _open(path, "Delete its run folder and give the command again") as arrays:
        rankings = {part: Ranking(arrays[f"{part}_users"], arrays[f"{part}_items"])
                    for part in PARTS if f"{part}_users" in arrays}
        return rankings, str(arrays["ids"])


def write_interactions(path: Path, interactions: Interactions) -> None:
    """Write a split, in one step."""
    _write(path, **{name: np.asarray(value) for name, value in interactions._asdict().items()})


def read_interactions(path: Path) -> Interactions:
    """Return a split. Raises UserError where the file is missing or damaged."""
    remedy = ("Delete it and the folder of one run, which is then done again and writes it, and "
              "give the command again")
    with _open(path, remedy) as arrays:
        return Interactions(int(arrays["n_users"]), int(arrays["n_items"]), arrays["train"],
                            arrays["valid"], arrays["test"], str(arrays["fingerprint"]),
                            str(arrays["ids"]))


def _write(path: Path, **arrays: np.ndarray) -> None:
    with in_one_step(path) as draft:
        np.savez_compressed(draft, **arrays)
        seal.seal(draft)


@contextmanager
def _open(path: Path, remedy: str) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with open(path, "rb") as file:
            detail = seal.damage(file)
        if detail is not None:
            raise UserError(f"{path} is damaged: {detail}. {remedy}")
        with np.load(path) as arrays:
            yield arrays
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}. {remedy}") from None
    except KeyError as error:
        raise UserError(f"{path} is not of this version: {error}. {remedy}") from None
