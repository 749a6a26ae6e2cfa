"""Measures beyond accuracy: loops over random rankings, RecBole's own, and cases by hand."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.evaluator import metrics as host

from recbole_ssr import compat
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation import beyond_accuracy as beyond
from recbole_ssr.evaluation.rankings import Interactions, Ranking

compat.apply()

K = 4


def made(seed, n_users=20, n_items=25, k=6):
    """A random ranking, a split that lists some pairs twice, and features that some items lack."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, n_items)
    items = [1 + rng.choice(n_items - 1, k, replace=False, p=weight / sum(weight))
             for _ in range(n_users - 1)]
    train = np.stack((rng.integers(1, n_users, 60), rng.integers(1, n_items - 3, 60)))
    none = np.empty((2, 0), dtype=np.int32)
    split = Interactions(n_users, n_items, train.astype(np.int32), none, none, "split", "ids")
    features = rng.normal(size=(n_items, 7)).astype(np.float32)
    present = rng.random(n_items) < 0.5
    features[~present] = np.nan
    ranking = Ranking(np.arange(1, n_users, dtype=np.int32), np.array(items, dtype=np.int32))
    return ranking, split, features, present


def of_host(metric, **given):
    return metric({"topk": [K], "metric_decimal_place": 15, **given})


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_counts_coverage_and_gini_are_recboles_over_the_items_without_padding(seed):
    ranking, split, *_ = made(seed)
    counts = beyond.recommendation_counts(ranking, split.n_items, K)
    listed = Counter(ranking.items[:, :K].ravel().tolist())
    assert counts.tolist() == [listed[item] for item in range(1, split.n_items)]
    top, n = ranking.items[:, :K], split.n_items - 1
    assert beyond.coverage(counts) == of_host(host.ItemCoverage).get_coverage(top, n)
    assert beyond.gini(counts) == pytest.approx(of_host(host.GiniIndex).get_gini(top, n), abs=1e-12)
    # By the definition: mean absolute difference of all pairs of items, over twice the mean.
    apart = np.abs(counts[:, None] - counts).mean()
    assert beyond.gini(counts) == pytest.approx(apart / (2 * counts.mean()), abs=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_what_recbole_makes_of_padding_is_as_documented(seed):
    ranking, split, *_ = made(seed)
    counts, top = beyond.recommendation_counts(ranking, split.n_items, K), ranking.items[:, :K]
    n = split.n_items
    stock = of_host(host.ItemCoverage).get_coverage(top, n)
    assert stock == pytest.approx(beyond.coverage(counts) * (n - 1) / n)
    assert of_host(host.GiniIndex).get_gini(top, n) > beyond.gini(counts)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_popularity_novelty_and_shares_of_lists_against_loops_and_recbole(seed):
    ranking, split, *_ = made(seed)
    pairs = split.train.T.tolist()
    popularity = Counter(item for _, item in pairs)
    owners = {item: {user for user, other in pairs if other == item} for item in range(25)}
    lists = [row[:K] for row in ranking.items.tolist()]
    stock = of_host(host.AveragePopularity)
    expected = stock.metric_info(stock.get_pop(ranking.items, popularity))[:, K - 1]
    np.testing.assert_allclose(beyond.list_popularity(ranking, split, K), expected, atol=1e-12)
    novelty = [sum(-math.log2(max(len(owners[i]), 1) / 19) for i in row) / K for row in lists]
    np.testing.assert_allclose(beyond.list_novelty(ranking, split, K), novelty, atol=1e-12)
    rare = np.array([popularity[item] <= 2 for item in range(split.n_items)])
    share = [sum(popularity[item] <= 2 for item in row) / K for row in lists]
    assert beyond.list_share(ranking, rare, K).tolist() == share


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_tail_share_is_recboles_for_the_same_tail(seed):
    ranking, split, *_ = made(seed)
    popularity = Counter(split.train[1].tolist())
    stock = of_host(host.TailPercentage, tail_ratio=3)  # above 1: items with at most 3
    expected = stock.metric_info(stock.get_tail(ranking.items, popularity))[:, K - 1]
    tail = np.array([0 < popularity[item] <= 3 for item in range(split.n_items)])
    np.testing.assert_allclose(beyond.list_share(ranking, tail, K), expected, atol=1e-12)


def diversity_by_loops(row, features, present):
    known = [features[item].astype(np.float64) for item in row if present[item]]
    known = [x / np.linalg.norm(x) for x in known if np.linalg.norm(x) > 0]
    pairs = [x @ y for a, x in enumerate(known) for y in known[a + 1:]]
    return 1 - sum(pairs) / len(pairs) if pairs else math.nan


@given(seed=st.integers(0, 10**6), block=st.sampled_from([1, 21, 1 << 24]))
@settings(max_examples=40, deadline=None)
def test_diversity_against_loops_whatever_the_block(seed, block):
    ranking, _, features, present = made(seed)
    present[3], features[3] = True, 0  # no direction: passed over
    expected = [diversity_by_loops(row[:K], features, present) for row in ranking.items.tolist()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beyond, "_BLOCK", block)
        found = beyond.list_diversity(ranking, features, present, K)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    assert beyond.too_short(ranking, features, present, K) == np.isnan(expected).sum()


def test_diversity_by_hand():
    features = np.array([[0, 0], [2, 0], [0, 3], [-1, 0], [5, 0], [0, 0]], dtype=np.float32)
    present = np.array([False, True, True, True, True, False])
    ranking = Ranking(np.arange(1, 6), np.array([[1, 4], [1, 2], [1, 3], [1, 5], [0, 5]]))
    found = beyond.list_diversity(ranking, features, present, 2)
    assert found[:3].tolist() == pytest.approx([0, 1, 2]) and np.isnan(found[3:]).all()
    assert beyond.too_short(ranking, features, present, 2) == 2
    # Of one item no pair exists.
    assert np.isnan(beyond.list_diversity(ranking, features, present, 1)).all()


def test_gini_and_coverage_of_extremes():
    assert beyond.gini(np.full(50, 7)) == 0
    one = np.zeros(1000, dtype=int)
    one[37] = 12
    assert beyond.gini(one) == pytest.approx(0.999)
    assert beyond.coverage(one) == 0.001 and beyond.coverage(np.full(50, 7)) == 1
    assert beyond.gini(np.array([1, 3])) == pytest.approx(0.25)
    assert math.isnan(beyond.gini(np.zeros(3, dtype=int)))


def test_a_list_that_ends_early_is_its_items():
    _, split, *_ = made(1)
    short, whole = (Ranking(np.array([1]), np.array([items])) for items in ([3, 5, 0, 0], [3, 5]))
    assert beyond.list_popularity(short, split, 4) == beyond.list_popularity(whole, split, 2)
    assert beyond.list_novelty(short, split, 4) == beyond.list_novelty(whole, split, 2)
    assert beyond.recommendation_counts(short, split.n_items, 4).sum() == 2


def test_novelty_by_hand():
    # Item 1 belongs to all four users, item 2 to one, who has it twice; nobody has item 3.
    train = np.array([[1, 2, 3, 4, 1, 1], [1, 1, 1, 1, 2, 2]], dtype=np.int32)
    split = Interactions(5, 4, train, train[:, :0], train[:, :0], "split", "ids")
    ranking = Ranking(np.array([1, 2, 3]), np.array([[1, 2], [2, 3], [1, 3]]))
    assert beyond.list_novelty(ranking, split, 2).tolist() == [1, 2, 1]
    assert beyond.list_novelty(ranking, split, 1).tolist() == [0, 2, 0]
    assert beyond.list_popularity(ranking, split, 2).tolist() == [3, 1, 2]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_permuting_users_changes_no_mean(seed):
    ranking, split, features, present = made(seed)
    order = np.random.default_rng(seed).permutation(len(ranking.users))
    mixed = Ranking(ranking.users[order], ranking.items[order])
    counts = [beyond.recommendation_counts(r, split.n_items, K) for r in (ranking, mixed)]
    assert np.array_equal(*counts)
    for measure in (lambda r: beyond.list_novelty(r, split, K),
                    lambda r: beyond.list_popularity(r, split, K),
                    lambda r: beyond.list_diversity(r, features, present, K)):
        np.testing.assert_allclose(measure(mixed), measure(ranking)[order], atol=1e-12)


def test_a_cut_off_beyond_the_stored_items_is_refused():
    ranking, split, features, present = made(0)
    for measure in (lambda k: beyond.recommendation_counts(ranking, split.n_items, k),
                    lambda k: beyond.list_novelty(ranking, split, k),
                    lambda k: beyond.list_share(ranking, present, k),
                    lambda k: beyond.list_diversity(ranking, features, present, k)):
        with pytest.raises(UserError, match="6 items a user are stored"):
            measure(7)


def test_diversity_of_many_lists_stays_within_its_blocks():
    rng = np.random.default_rng(0)
    n_users, n_items, d, k = 60_000, 400, 512, 20  # all their vectors at once: 2.4 GB
    items = 1 + (rng.integers(0, n_items, (n_users, 1)) + np.arange(k)) % (n_items - 1)
    ranking = Ranking(np.arange(1, n_users + 1), items.astype(np.int32))
    features = rng.normal(size=(n_items, d)).astype(np.float32)
    tracemalloc.start()
    try:
        found = beyond.list_diversity(ranking, features, np.ones(n_items, dtype=bool), k)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    for row in (0, n_users - 1):
        expected = diversity_by_loops(items[row], features, np.ones(n_items, dtype=bool))
        assert found[row] == pytest.approx(expected, abs=2e-6)
    assert peak < 200 * 2**20
