"""The rules by which interactions fall into training, validation and test.

Most rules order the rows of each group, a user's or all, and count off: the first are training, the
last are for testing. What differs is the order and the counts.

- Random order sorts rows by a 64-bit hash of (seed, user token, item token, time). It depends on
  neither the order of the rows nor, within a user, on the other users.
- Order of time leaves rows of one time in the order of their source, as RecBole does.

Random splits are the same whatever the order of the rows, save for rows that agree in user, item
and second. Counts named after RecBole are those of its 1.2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.errors import UserError

TRAIN, VALID, TEST = 0, 1, 2
# Of train, valid and test; where the test part is given, of the other two.
Ratios = tuple[float, ...]
# A rule takes the interactions, the seed and the ratios, the last two None where its yaml has none,
# and returns the (n,) labels.
Rule = Callable[[Interactions, "int | None", "Ratios | None"], np.ndarray]
# How many of n rows, under these ratios, are train, valid and test.
Counts = Callable[[int, "Ratios | None"], tuple[int, int, int]]

# MMRec holds one interaction per part out of users with fewer than this; else a fifth in all.
_FEW = 10
# Increment and multipliers of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
_GOLDEN, _MIX_1, _MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9,
                                                  0x94D049BB133111EB))


def mmrec_counts(n: int, _ratios: Ratios | None = None) -> tuple[int, int, int]:
    """MMRec: a fifth of n is held out, at least one per part; users of fewer than 3 train only.

    >>> mmrec_counts(15)
    (12, 1, 2)
    """
    if n < 3:
        return n, 0, 0
    if n < _FEW:
        return n - 2, 1, 1
    held = n // 5
    return n - held, held // 2, held - held // 2


def ratio_counts(n: int, ratios: Ratios) -> tuple[int, int, int]:
    """RecBole's RS: held-out parts are rounded down, but get one where training can spare it.

    >>> ratio_counts(15, (0.8, 0.1, 0.1)), ratio_counts(5, (0.8, 0.1, 0.1))
    ((13, 1, 1), (3, 1, 1))
    """
    train, valid, test = n, *(int(share * n) for share in ratios[1:])
    train -= valid + test
    if train > 1 and 0 < ratios[2] * n < 1:
        train, test = train - 1, test + 1
    if train > 1 and 0 < ratios[1] * n < 1:
        train, valid = train - 1, valid + 1
    return train, valid, test


def leave_one_out_counts(n: int, _ratios: Ratios | None = None) -> tuple[int, int, int]:
    """RecBole's LS valid_and_test: one to test, one to valid, while one stays for training.

    >>> leave_one_out_counts(5), leave_one_out_counts(1)
    ((3, 1, 1), (1, 0, 0))
    """
    return n - min(2, max(n - 1, 0)), int(n >= 3), int(n >= 2)


def count_off(groups: np.ndarray, keys: Sequence[np.ndarray],
              counts: Callable[[int], tuple[int, int, int]]) -> np.ndarray:
    """Label the rows of each group in the order of `keys` (each (n,), the first decides first).

    Returns (n,) int8: of a group of m rows, counts(m) rows are 0, then 1, then 2.

    >>> count_off(np.zeros(4, int), [np.array([9, 8, 7, 6])], leave_one_out_counts)
    array([2, 1, 0, 0], dtype=int8)
    """
    order = np.lexsort((*reversed(keys), groups))
    sizes = np.bincount(groups)
    position = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    distinct, which = np.unique(sizes, return_inverse=True)
    borders = np.array([np.cumsum(counts(int(size))[:2]) for size in distinct])[which]
    labels = np.empty(len(groups), dtype=np.int8)
    labels[order] = sum(position >= np.repeat(border, sizes) for border in borders.T)
    return labels


def _counting(counts: Counts, by_time: bool = False, per_user: bool = True) -> Rule:
    """Return the rule that counts off a user's rows, or all, in order of time or at random."""
    def rule(interactions: Interactions, seed: int | None, ratios: Ratios | None) -> np.ndarray:
        keys = _time_keys(interactions) if by_time else _random_keys(interactions, seed)
        groups = interactions.users if per_user else np.zeros(len(interactions), dtype=np.int64)
        return count_off(groups, keys, lambda n: counts(n, ratios))
    return rule


def _published(interactions: Interactions, _seed, _ratios) -> np.ndarray:
    if interactions.labels is None:
        raise UserError("The data bring no split of their own. Choose another --split, for "
                        "instance ratio, or name the column that has 0 train, 1 valid, 2 test.")
    return interactions.labels


def _published_test(interactions: Interactions, seed: int, ratios: Ratios) -> np.ndarray:
    labels = _published(interactions, None, None).copy()
    rest = np.flatnonzero(labels != TEST)
    labels[rest] = count_off(interactions.users[rest],
                             [key[rest] for key in _random_keys(interactions, seed)],
                             lambda n: ratio_counts(n, (*ratios, 0)))
    return labels


def _time(interactions: Interactions, _seed, ratios: Ratios) -> np.ndarray:
    """RecBole's TS: test is what comes after a percentile of all times, valid per user before it.

    RecBole computes its masks on a user's rows in order of time and applies them to the rows as
    they stand, so that other rows are held out unless the data are sorted. Here the rows meant are.
    """
    border = np.percentile(interactions.timestamps, 100 * (1 - ratios[2]))
    early = np.flatnonzero(interactions.timestamps <= border)
    share = ratios[0] / (1 - ratios[2])
    labels = np.full(len(interactions), TEST, dtype=np.int8)
    labels[early] = count_off(
        interactions.users[early], [key[early] for key in _time_keys(interactions)],
        lambda n: (int(n * share), n - int(n * share), 0),
    )
    return labels


def _global_temporal(interactions: Interactions, _seed, ratios: Ratios) -> np.ndarray:
    """Two instants for all: those of the first rows of valid and of test if time had no ties."""
    times = np.sort(interactions.timestamps)
    ranks = [min(round(share * len(times)), len(times) - 1)
             for share in (ratios[0], ratios[0] + ratios[1])]
    return np.searchsorted(times[ranks], interactions.timestamps, side="right").astype(np.int8)


def _cold_items(interactions: Interactions, seed: int, ratios: Ratios) -> np.ndarray:
    """Divide the items by RecBole's counts of all items; rows get the label of their item."""
    tokens = _token_hashes(interactions.item_tokens, b"item")
    of_item = count_off(np.zeros(interactions.n_items, dtype=np.int64),
                        [_mixed(_seeded(seed) ^ tokens), tokens],
                        lambda n: ratio_counts(n, ratios))
    return of_item[interactions.items]


def _time_keys(interactions: Interactions) -> list[np.ndarray]:
    return [interactions.timestamps]


def _random_keys(interactions: Interactions, seed: int) -> list[np.ndarray]:
    """The hash of each row, and, for rows of one hash, those of its tokens."""
    users = _token_hashes(interactions.user_tokens, b"user")[interactions.users]
    items = _token_hashes(interactions.item_tokens, b"item")[interactions.items]
    key = _mixed(_mixed(_seeded(seed) ^ users) ^ items)
    if interactions.timestamps is not None:
        key = _mixed(key ^ interactions.timestamps.astype(np.int64).view(np.uint64))
    return [key, users, items]


def _token_hashes(tokens: np.ndarray, kind: bytes) -> np.ndarray:
    """Return (n_tokens,) uint64: the first 8 bytes of BLAKE2b of each token."""
    digests = b"".join(hashlib.blake2b(str(token).encode(), digest_size=8, person=kind).digest()
                       for token in tokens)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _seeded(seed: int) -> np.ndarray:
    return _mixed(np.array([seed], dtype=np.uint64))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Return the splitmix64 step of each (n,) uint64, a bijection whose bits look random."""
    values = values + _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * _MIX_1
    values = (values ^ (values >> np.uint64(27))) * _MIX_2
    return values ^ (values >> np.uint64(31))


RULES: dict[str, Rule] = {
    "published": _published,
    "published-test": _published_test,
    "mmrec": _counting(mmrec_counts),
    "ratio": _counting(ratio_counts),
    "ratio-global": _counting(ratio_counts, per_user=False),
    "leave-one-out": _counting(leave_one_out_counts, by_time=True),
    "leave-one-out-random": _counting(leave_one_out_counts),
    "temporal-ratio": _counting(ratio_counts, by_time=True),
    "temporal-ratio-global": _counting(ratio_counts, by_time=True, per_user=False),
    "time": _time,
    "global-temporal": _global_temporal,
    "cold-items": _cold_items,
}
TIMED = frozenset(("leave-one-out", "temporal-ratio", "temporal-ratio-global", "time",
                   "global-temporal"))
