"""Ranking metrics of single users, whose means are RecBole's.

Everything comes from the ranked items and the held-out pairs, by binary search: nothing of size
users x items exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.evaluation.rankings import Ranking


class Hits(NamedTuple):
    """Where the relevant items of every user are ranked.

    Shapes: hits (n, K) bool, best first; positives (n,) int64, relevant items, ranked or not.
    """

    hits: np.ndarray
    positives: np.ndarray


def hits_of(ranking: Ranking, pairs: np.ndarray) -> Hits:
    """Return which ranked items are among the `pairs` of their user.

    Shapes: pairs (2, E), users and items; a pair listed twice counts once, pairs of users who are
    not ranked count nowhere.
    """
    users, items = ranking.users.astype(np.int64), ranking.items
    pair_users, pair_items = np.asarray(pairs, dtype=np.int64)
    # One integer per (user, item), so that membership is a binary search among E numbers.
    width = 1 + int(max(items.max(initial=0), pair_items.max(initial=0)))
    known = distinct(pair_users * width + pair_items)
    ends = np.searchsorted(known, np.stack((users, users + 1)) * width)
    ranked = users[:, None] * width + items
    nothing = -1  # what a search beyond the last pair finds
    hits = np.append(known, nothing)[np.searchsorted(known, ranked)] == ranked
    return Hits(hits, ends[1] - ends[0])


def best(rows: np.ndarray, k: int) -> np.ndarray:
    """Return the first k of every row; UserError where k is beyond K. Shapes: rows (n, K).

    >>> best(np.array([[3, 1, 2]]), k=2)
    array([[3, 1]])
    """
    stored = rows.shape[1]
    if not 1 <= k <= stored:
        raise UserError(f"a cut-off of {k} needs rankings of that length, and {stored} items a "
                        "user are stored; raise topk and run again, or choose a smaller cut-off")
    return rows[:, :k]


def values_at(hits: Hits, name: str, k: int) -> np.ndarray:
    """Return a metric at cut-off k of every user, as RecBole 1.2.1 defines it.

    Args:
        hits: hits (n, K), positives (n,).
        name: recall, ndcg, precision, hit, mrr or map. Ideal DCG and the denominator of average
            precision count min(k, positives) items.
        k: at most K.

    Returns (n,) float64, nan for users without positives.

    Raises:
        UserError: an unknown metric, or a cut-off beyond the stored items.

    >>> values_at(Hits(np.array([[True, False]]), np.array([2])), "recall", k=2)
    array([0.5])
    """
    if name not in METRICS:
        raise UserError(f"there is no metric {name!r} of users.{nearest(name, METRICS)} Known: "
                        f"{', '.join(METRICS)}")
    values = METRICS[name](best(hits.hits, k), np.maximum(hits.positives, 1))
    return np.where(hits.positives > 0, values, np.nan)


def user_values(
    ranking: Ranking, pairs: np.ndarray, metrics: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return metrics such as "recall@20" of every ranked user.

    Shapes: pairs (2, E), users and items; values (n,) float64 in the order of ranking.users, nan
    for users without pairs.

    Raises:
        UserError: an unknown metric, or a cut-off beyond the stored items.
    """
    hits = hits_of(ranking, pairs)
    values = {}
    for metric in metrics:
        name, _, k = metric.partition("@")
        if not k.isdigit():
            raise UserError(f"{metric!r} is not a metric with a cut-off, such as recall@20")
        values[metric] = values_at(hits, name, int(k))
    return values


def _recall(hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    return hits.sum(1) / positives


def _precision(hits: np.ndarray, _: np.ndarray) -> np.ndarray:
    return hits.mean(1)


def _hit(hits: np.ndarray, _: np.ndarray) -> np.ndarray:
    return hits.any(1).astype(float)


def _mrr(hits: np.ndarray, _: np.ndarray) -> np.ndarray:
    return hits.any(1) / (1 + hits.argmax(1))


def _ndcg(hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    k = hits.shape[1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    return hits @ discount / discount.cumsum()[np.minimum(positives, k) - 1]


def _map(hits: np.ndarray, positives: np.ndarray) -> np.ndarray:
    k = hits.shape[1]
    precision = hits.cumsum(1) / np.arange(1, k + 1)
    return (precision * hits).sum(1) / np.minimum(positives, k)


METRICS = {"recall": _recall, "ndcg": _ndcg, "precision": _precision, "hit": _hit, "mrr": _mrr,
            "map": _map}
