"""Groups of users and items: a slow direct computation, cases by hand, and what must add up."""

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.subsets import (
    cold_items,
    head_and_tail,
    head_items,
    subset_values,
    user_groups,
)
from recbole_ssr.evaluation.user_metrics import user_values

METRICS = ("recall@4", "ndcg@4", "mrr@4")


def split_of(n_users, n_items, train, test):
    train, test = (np.array(pairs, dtype=np.int32).reshape(-1, 2).T for pairs in (train, test))
    return Interactions(n_users, n_items, train, test[:, :0], test, "split", "ids")


def made(seed, n_users=25, n_items=30, k=6):
    """A skewed split in which some users and some items have nothing in training."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, n_items)
    weight /= weight.sum()
    train, test = [], []
    for user in range(1, n_users):
        own = 1 + rng.choice(n_items - 1, rng.integers(0, 16), replace=False, p=weight)
        train += [(user, item) for item in own if item % 7]
        held = 1 + rng.permutation(n_items - 1)[:rng.integers(0, 5)]
        test += [(user, item) for item in held if item not in own]
    users = np.unique([user for user, _ in test]).astype(np.int32)
    items = np.stack([1 + rng.permutation(n_items - 1)[:k] for _ in users]).astype(np.int32)
    return split_of(n_users, n_items, train, test), Ranking(users, items)


def directly(ranking, test, relevant, metric):
    """A metric of every user over the held-out items that are `relevant(user, item)`, by loops."""
    name, k = metric.split("@")
    found = {}
    for user, ranked in zip(ranking.users.tolist(), ranking.items.tolist()):
        held = {i for u, i in test.T.tolist() if u == user and relevant(u, i)}
        if not held:
            continue
        places = [place for place, item in enumerate(ranked[:int(k)], 1) if item in held]
        if name == "recall":
            found[user] = len(places) / len(held)
        elif name == "mrr":
            found[user] = 1 / places[0] if places else 0
        else:
            ideal = sum(1 / math.log2(place + 1) for place in range(1, min(len(held), int(k)) + 1))
            found[user] = sum(1 / math.log2(place + 1) for place in places) / ideal
    return found


def assert_equal_to(values, direct, metric):
    assert values.users.tolist() == list(direct)
    assert values.values[metric].tolist() == pytest.approx(list(direct.values()), abs=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_all_groups_against_loops(seed):
    split, ranking = made(seed)
    degree, popularity = Counter(split.train[0].tolist()), Counter(split.train[1].tolist())
    head, reached = set(), 0
    for item in sorted(range(1, split.n_items), key=lambda i: (-popularity[i], i)):
        if 5 * reached < 3 * split.train.shape[1]:
            head.add(item)
            reached += popularity[item]
    rules = {
        "users with at most 3 interactions": lambda u, _: degree[u] <= 3,
        "users with 4 interactions": lambda u, _: degree[u] == 4,
        "users with 5-8 interactions": lambda u, _: 5 <= degree[u] <= 8,
        "users with more than 8 interactions": lambda u, _: degree[u] > 8,
        "cold items": lambda _, i: popularity[i] == 0,
        "head items": lambda _, i: i in head,
        "tail items": lambda _, i: popularity[i] > 0 and i not in head,
    }
    groups = [user_groups(split, [3, 4, 8]), cold_items(split), head_and_tail(split, 0.6)]
    subsets = {subset.name: subset for some in groups for subset in some.subsets}
    left_out = {name for some in groups for name in some.left_out}
    assert subsets.keys() | left_out == rules.keys() and not subsets.keys() & left_out
    for name, rule in rules.items():
        for metric in METRICS:
            direct = directly(ranking, split.test, rule, metric)
            assert bool(direct) == (name in subsets)
            if direct:
                found = subset_values(ranking, split.test, subsets[name], METRICS)
                assert_equal_to(found, direct, metric)


@given(seed=st.integers(0, 10**6), borders=st.sets(st.integers(1, 12), min_size=1))
@settings(max_examples=25, deadline=None)
def test_user_groups_partition_the_users_so_their_weighted_mean_is_the_overall_mean(seed, borders):
    split, ranking = made(seed)
    found = [subset_values(ranking, split.test, subset, METRICS)
             for subset in user_groups(split, sorted(borders)).subsets]
    assert np.array_equal(np.sort(np.concatenate([f.users for f in found])), ranking.users)
    overall = user_values(ranking, split.test, METRICS)
    for metric in METRICS:
        weighted = sum(len(f.users) * f.values[metric].mean() for f in found) / len(ranking.users)
        assert weighted == pytest.approx(overall[metric].mean(), abs=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_hits_on_head_tail_and_cold_items_add_up_to_all_hits(seed):
    split, ranking = made(seed)
    subsets = [*cold_items(split).subsets, *head_and_tail(split, 0.8).subsets]
    held, ranked = set(map(tuple, split.test.T.tolist())), 0
    for user, items in zip(ranking.users.tolist(), ranking.items.tolist()):
        ranked += sum((user, item) in held for item in items)
    total = 0
    for subset in subsets:
        values = subset_values(ranking, split.test, subset, ["precision@6"])
        total += 6 * values.values["precision@6"].sum()
    assert total == pytest.approx(ranked)


def test_cold_items_by_hand():
    # Item 4 is the only one without training; user 2 has none of it and does not count.
    split = split_of(4, 6, [(1, 1), (2, 2), (3, 3), (3, 5)],
                     [(1, 2), (1, 4), (2, 1), (3, 4), (3, 2)])
    ranking = Ranking(np.array([1, 2, 3]), np.array([[2, 4, 3], [1, 4, 5], [2, 1, 5]]))
    subset, = cold_items(split).subsets
    found = subset_values(ranking, split.test, subset, ["recall@3", "ndcg@3", "recall@1"])
    assert found.users.tolist() == [1, 3]
    assert found.values["recall@3"].tolist() == [1, 0]
    # The ideal is the one cold item at the first place, whatever else user 1 holds out.
    assert found.values["ndcg@3"].tolist() == pytest.approx([1 / math.log2(3), 0])
    assert found.values["recall@1"].tolist() == [0, 0]


def test_the_head_by_hand():
    counts = np.array([0, 3, 5, 1, 3, 0, 8])
    chosen = {share: np.flatnonzero(head_items(counts, share)).tolist()
              for share in (0.4, 0.41, 0.7, 0.8, 1)}
    # Of 20: 8, then 13, then 16 by the smaller id of two equals, then 19, then 20.
    assert chosen == {0.4: [6], 0.41: [2, 6], 0.7: [1, 2, 6], 0.8: [1, 2, 6], 1: [1, 2, 3, 4, 6]}


def test_a_share_that_is_met_exactly_takes_no_item_more():
    for n in range(10, 200, 10):
        for tenths in range(1, 11):
            counts = np.ones(n, dtype=int)
            assert head_items(counts, tenths / 10).sum() == n * tenths // 10


def test_users_without_training_are_in_the_first_group_and_it_is_said():
    split = split_of(4, 4, [(1, 1), (1, 2), (1, 3), (3, 1)], [(1, 3), (2, 3), (3, 3)])
    groups = user_groups(split, [1, 2])
    first, last = groups.subsets
    assert first.name == "users with at most 1 interaction"
    assert np.flatnonzero(first.users).tolist() == [0, 2, 3]  # 0 is padding, of no pair
    assert last.name == "users with more than 2 interactions"
    assert groups.notes == ("users with at most 1 interaction: 1 of them without any in training",)
    assert groups.left_out == {
        "users with 2 interactions": "no user of the test part has that many in training"}


def test_groups_without_held_out_pairs_are_left_out_with_a_reason():
    split = split_of(3, 5, [(1, 1), (1, 2), (2, 1), (2, 3)], [(1, 3), (2, 2)])
    cold, popular = cold_items(split), head_and_tail(split, 0.5)
    assert cold.subsets == () and "has training interactions" in cold.left_out["cold items"]
    assert [subset.name for subset in popular.subsets] == ["tail items"]
    assert popular.left_out == {"head items": "no item of the test part is in it"}


def test_the_part_is_the_callers_choice():
    split = split_of(3, 5, [(1, 1), (1, 2), (2, 1)], [(1, 4), (2, 2)])
    split = split._replace(valid=np.array([[2], [3]], dtype=np.int32))
    assert cold_items(split, "test").subsets and cold_items(split, "valid").subsets
    later = split._replace(valid=np.array([[2], [2]], dtype=np.int32))
    assert "the valid part" in cold_items(later, "valid").left_out["cold items"]


@pytest.mark.parametrize("borders", [[], [0, 5], [5, 5], [10, 5], [2.5], ["5"], [True], 5, None])
def test_borders_out_of_order_are_refused(borders):
    with pytest.raises(UserError, match="user_groups is .* ascending whole numbers"):
        user_groups(made(0)[0], borders)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan"), "0.8", None])
def test_shares_out_of_range_are_refused(share):
    with pytest.raises(UserError, match="head_share is"):
        head_and_tail(made(0)[0], share)


def test_groups_of_many_users_and_items_stay_small():
    n_users, n_items, k = 100_001, 400_001, 5  # 40 GB as bytes, users times items
    rng = np.random.default_rng(0)
    users = np.arange(1, n_users, dtype=np.int32)
    items = 1 + (rng.integers(0, n_items, (len(users), 1)) + np.arange(k)) % (n_items - 1)
    train = np.stack((users, 1 + (users % 1000)))
    split = Interactions(n_users, n_items, train, train[:, :0], np.stack((users, items[:, 0])),
                         "split", "ids")
    ranking = Ranking(users, items.astype(np.int32))
    tracemalloc.start()
    try:
        for some in (user_groups(split, [5]), cold_items(split), head_and_tail(split, 0.8)):
            for subset in some.subsets:
                found = subset_values(ranking, split.test, subset, ["ndcg@5"])
                assert np.all(found.values["ndcg@5"] == 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20
