"""What is recommended, whoever likes it: coverage, concentration, popularity, novelty, diversity.

Items are all items of the dataset. Padding, id 0, is none of them, where RecBole counts it: its
ItemCoverage is (n_items - 1) / n_items of the one here, and its GiniIndex slightly larger. All
functions raise UserError for a cut-off k beyond the stored items.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from recbole_ssr.distinct import distinct
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.user_metrics import best

# Users at a time in diversity: the sums of their feature vectors stay within this many numbers.
_BLOCK = 1 << 24


def recommendation_counts(ranking: Ranking, n_items: int, k: int) -> np.ndarray:
    """Return how many lists hold each item among the best k, int64 (n_items - 1,), item 1 first."""
    return np.bincount(best(ranking.items, k).ravel(), minlength=n_items)[1:]


def coverage(counts: np.ndarray) -> float:
    """Return the share of all items that anybody is recommended.

    Catalogue coverage of Ge, Delgado-Battenfeld and Jannach, Beyond Accuracy: Evaluating
    Recommender Systems by Coverage and Serendipity, RecSys 2010.

    Shapes: counts (n_items - 1,), of recommendation_counts.

    >>> coverage(np.array([3, 1, 0, 0]))
    0.5
    """
    return float((counts > 0).mean())


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of the recommendations over all items.

    0 where every item is recommended equally often, (n - 1) / n where n items share the
    recommendations of one. Fleder and Hosanagar, Blockbuster Culture's Next Rise or Fall,
    Management Science 55, 2009.

    Shapes: counts (n_items - 1,), of recommendation_counts; nan where they are all 0.

    >>> gini(np.array([4, 0, 0, 0])), gini(np.array([1, 1, 1, 1]))
    (0.75, 0.0)
    """
    n, total = len(counts), counts.sum()
    if not total:
        return float("nan")
    rank = np.arange(1, n + 1)
    return float((2 * rank - n - 1) @ np.sort(counts) / (n * total))


def list_popularity(ranking: Ranking, interactions: Interactions, k: int) -> np.ndarray:
    """Return the mean number of training interactions of the items of every list, float64 (n,).

    Average recommendation popularity of Yin et al., Challenging the Long Tail Recommendation,
    VLDB 2012.
    """
    counts = np.bincount(interactions.train[1], minlength=interactions.n_items)
    return _list_mean(ranking, counts, k)


def list_novelty(ranking: Ranking, interactions: Interactions, k: int) -> np.ndarray:
    """Return the mean self-information of the items of every list in bits, float64 (n,).

    That of an item is -log2 of the share of all users who have it in training: Zhou et al.,
    Solving the Apparent Diversity-Accuracy Dilemma of Recommender Systems, PNAS 107, 2010. It
    would be infinite for an item that nobody has in training; such an item counts as if one user
    had it, so that it is as novel as the least known of the others, and never more.
    """
    pairs = interactions.train.astype(np.int64)
    of_pairs = distinct(pairs[0] * interactions.n_items + pairs[1]) % interactions.n_items
    users = np.bincount(of_pairs, minlength=interactions.n_items)
    information = -np.log2(np.maximum(users, 1) / (interactions.n_users - 1))
    return _list_mean(ranking, information, k)


def list_share(ranking: Ranking, items: np.ndarray, k: int) -> np.ndarray:
    """Return the share of every list that some items hold, float64 (n,).

    With the tail items it is the average percentage of long-tail items of Abdollahpouri, Burke and
    Mobasher, Managing Popularity Bias in Recommender Systems with Personalized Re-Ranking,
    FLAIRS 2019.

    Shapes: items (n_items,) bool.
    """
    return _list_mean(ranking, items, k)


def list_diversity(
    ranking: Ranking, features: np.ndarray, present: np.ndarray, k: int
) -> np.ndarray:
    """Return one minus the mean cosine between the items of every list, over all its pairs.

    Intra-list similarity of Ziegler et al., Improving Recommendation Lists Through Topic
    Diversification, WWW 2005, averaged over pairs and subtracted from one. Items without features,
    or with a zero vector, are passed over.

    Shapes: features (n_items, d) float32, present (n_items,) bool; returns (n,) float64, nan for
    lists with fewer than two items that have features.
    """
    items = best(ranking.items, k)
    weights = _inverse_norms(features, present)[items]
    m = (weights > 0).sum(1)
    sums = np.empty(len(items))
    step = max(1, _BLOCK // features.shape[1])
    for start in range(0, len(items), step):
        block = slice(start, start + step)
        sums[block] = _squared_length(items[block], weights[block], features)
    # The squared length of a sum of m unit vectors is m and twice the sum of their cosines.
    return np.where(m > 1, 1 - (sums - m) / np.maximum(m * (m - 1), 1), np.nan)


def too_short(ranking: Ranking, features: np.ndarray, present: np.ndarray, k: int) -> int:
    """Return how many lists `list_diversity` leaves out, with fewer than two items to compare."""
    known = _inverse_norms(features, present) > 0
    return int((known[best(ranking.items, k)].sum(1) < 2).sum())


def _squared_length(items: np.ndarray, weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Squared length of the weighted sum of the features in every list. Shapes: (n, K) to (n,)."""
    n, k = items.shape
    lists = csr_matrix((weights.ravel(), items.ravel(), np.arange(0, n * k + 1, k)),
                       shape=(n, len(features)))
    lists.eliminate_zeros()  # items without features may hold NaN
    total = lists @ features
    return np.einsum("nd,nd->n", total, total, dtype=np.float64)


def _inverse_norms(features: np.ndarray, present: np.ndarray) -> np.ndarray:
    """One over the length of every row, 0 without a direction; float32 (n_items,)."""
    norms = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    known = present & (norms > 0)
    return np.where(known, 1 / np.where(known, norms, 1), 0).astype(np.float32)


def _list_mean(ranking: Ranking, values: np.ndarray, k: int) -> np.ndarray:
    """Mean of the items' values in every list, which may end early: padding is left out.

    Shapes: values (n_items,); returns (n,).
    """
    items = best(ranking.items, k)
    listed = items > 0
    return np.where(listed, values[items], 0).sum(1, dtype=np.float64) / listed.sum(1)
