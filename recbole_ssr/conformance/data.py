"""A dataset of 60 users with everything that a family of RecBole's models reads.

Interactions with ratings and times, whole and in presplit files, features of users and items,
columns that name other users, items, entities and relations, a knowledge graph with its link to
the items, and vectors of its entities and relations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

NAME = "sixty"
USERS, ITEMS, RELATIONS, ENTITIES = 60, 50, 3, 60
PARTS = ("first", "second", "third")  # of the presplit files
_SEED = 7
_GENRES = ("drama", "comedy", "crime", "war", "music")
_VECTOR = 64  # the width of RecBole's KSR


def write_sixty(root: str | Path) -> Path:
    """Write the dataset below `root` and return its folder.

    Every user has 13 to 18 interactions, no two at the same time; every sixth user has a pair
    twice, and the last one is not in the file of users, for filters to have something to do.
    """
    folder = Path(root) / NAME
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(_SEED)
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    rows = list(_interactions(rng))
    _write(folder, "inter", head, rows)
    for k, part in enumerate(PARTS):
        of_part = [row for n, row in enumerate(rows) if max(0, n % 10 - 7) == k]
        _write(folder, f"{part}.inter", head, of_part)
    _write(folder, "user", "user_id:token\tage:float\tgender:token\tfriend:token",
           (f"u{u}\t{18 + u % 40}\t{'FM'[u % 2]}\tu{(u + 7) % USERS}" for u in range(USERS - 1)))
    _write(folder, "item", "item_id:token\tyear:token\tprice:float\tclass:token_seq"
           "\tsimilar:token\ttopic:token\treason:token",
           (f"i{i}\t{1990 + i % 7}\t{1 + i % 5}\t{_genres(i)}\ti{(i + 2) % ITEMS}"
            f"\te{(i + 5) % ENTITIES}\tr{i % RELATIONS}" for i in range(ITEMS)))
    _write(folder, "link", "item_id:token\tentity_id:token", (f"i{i}\te{i}" for i in range(ITEMS)))
    _write(folder, "kg", "head_id:token\trelation_id:token\ttail_id:token", _triples(rng))
    for suffix, prefix, n in (("ent", "i", ITEMS), ("rel", "r", RELATIONS)):
        _write(folder, suffix, f"{suffix}_id:token\t{suffix}_emb:float_seq",
               (f"{prefix}{k}\t{_vector(rng)}" for k in range(n)))
    return folder


def _interactions(rng: np.random.Generator) -> Iterator[str]:
    moments = iter(rng.permutation(USERS * ITEMS))
    for user in range(USERS):
        liked = rng.permutation(np.arange(user % 2, ITEMS, 2))[:rng.integers(10, 15)]
        others = rng.permutation(np.arange(1 - user % 2, ITEMS, 2))[:3]
        items = rng.permutation(np.concatenate((liked, others)))
        for item in np.append(items, items[:1] if user % 6 == 0 else []).astype(int):
            # The ratings follow the user's taste, so that labels can be learned.
            rating = rng.integers(3, 6) if item % 2 == user % 2 else rng.integers(1, 4)
            yield f"u{user}\ti{item}\t{rating}\t{next(moments)}"


def _triples(rng: np.random.Generator) -> Iterator[str]:
    for head in range(ENTITIES):
        for tail in rng.permutation(ENTITIES)[:4]:
            if head != tail:
                yield f"e{head}\tr{(head + tail) % RELATIONS}\te{tail}"


def _genres(item: int) -> str:
    return " ".join(_GENRES[: 1 + item % len(_GENRES)])


def _vector(rng: np.random.Generator) -> str:
    return " ".join(f"{x:.4f}" for x in rng.normal(size=_VECTOR))


def _write(folder: Path, suffix: str, header: str, lines: Iterable[str]) -> None:
    text = "\n".join((header, *lines)) + "\n"
    (folder / f"{NAME}.{suffix}").write_text(text, encoding="utf-8")
