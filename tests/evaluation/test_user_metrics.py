"""Metrics of single users: RecBole's own, user by user, and a few by hand."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.evaluator import metrics as host
from tiny import SETTINGS, write_tiny

from recbole_ssr import compat
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.collector import match_positives
from recbole_ssr.evaluation.rankings import Ranking, read_rankings
from recbole_ssr.evaluation.user_metrics import Hits, hits_of, user_values, values_at
from recbole_ssr.quick_start import load_run, run

compat.apply()

NAMES = {"recall": host.Recall, "ndcg": host.NDCG, "precision": host.Precision, "hit": host.Hit,
         "mrr": host.MRR, "map": host.MAP}


def made(seed, n_users=30, n_items=40, k=10):
    """A ranking of some users, and pairs of all of them: one to 15 a user, some listed twice."""
    rng = np.random.default_rng(seed)
    users = np.sort(rng.choice(np.arange(1, 2 * n_users), n_users, replace=False)).astype(np.int32)
    items = np.stack([1 + rng.permutation(n_items - 1)[:k] for _ in users]).astype(np.int32)
    pairs = [(user, 1 + item) for user in range(1, 2 * n_users)
             for item in rng.permutation(n_items - 1)[:rng.integers(1, 16)]]
    pairs += [pairs[at] for at in rng.integers(0, len(pairs), 20)]
    return Ranking(users, items), rng.permutation(np.array(pairs, dtype=np.int32)).T


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_every_user_has_the_value_that_recbole_averages(name, seed):
    ranking, pairs = made(seed)
    row = {user: place for place, user in enumerate(ranking.users.tolist())}
    mine = np.array([[row[u], i] for u, i in pairs.T.tolist() if u in row]).T
    hits, positives = match_positives(
        torch.from_numpy(ranking.items).long(), *map(torch.from_numpy, mine), 40)
    metric = NAMES[name]({"topk": [10], "metric_decimal_place": 15})
    hits, positives = hits.bool().numpy(), positives.numpy()
    both = name in ("recall", "ndcg", "map")
    expected = metric.metric_info(hits, positives) if both else metric.metric_info(hits)
    for k in range(1, 11):
        ours = user_values(ranking, pairs, [f"{name}@{k}"])[f"{name}@{k}"]
        np.testing.assert_allclose(ours, expected[:, k - 1], rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_hits_and_positives_are_those_of_sets(seed):
    ranking, pairs = made(seed)
    held = set(map(tuple, pairs.T.tolist()))
    found = hits_of(ranking, pairs)
    for row, user in enumerate(ranking.users.tolist()):
        assert found.positives[row] == sum(owner == user for owner, _ in held)
        ranked = ranking.items[row].tolist()
        assert found.hits[row].tolist() == [(user, item) in held for item in ranked]


def test_values_by_hand():
    # Ranked relevant at 1 and 3 of four; at 2 of one; nowhere of two.
    found = Hits(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=bool), np.array([4, 1, 2]))
    second = 1 / math.log2(3)
    expected = {"recall": [0.5, 1, 0], "precision": [2 / 3, 1 / 3, 0], "hit": [1, 1, 0],
                "mrr": [1, 0.5, 0], "map": [(1 + 2 / 3) / 3, 0.5, 0],
                "ndcg": [1.5 / (1 + second + 0.5), second, 0]}
    for name, values in expected.items():
        assert values_at(found, name, 3).tolist() == pytest.approx(values), name
    assert values_at(found, "recall", 1).tolist() == [0.25, 0, 0]
    assert values_at(found, "mrr", 1).tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_no_value_without_positives(name):
    ranking = Ranking(np.array([3, 7]), np.array([[1, 2], [2, 1]]))
    values = user_values(ranking, np.array([[7, 9], [2, 1]]), [f"{name}@1"])[f"{name}@1"]
    assert np.isnan(values[0]) and values[1] == 1
    nobody = user_values(ranking, np.empty((2, 0), dtype=np.int32), [f"{name}@2"])
    assert np.isnan(nobody[f"{name}@2"]).all()


def test_permuting_the_pairs_changes_nothing_and_permuting_users_permutes():
    ranking, pairs = made(3)
    order = np.random.default_rng(0).permutation(len(ranking.users))
    metrics = [f"{name}@5" for name in NAMES]
    plain = user_values(ranking, pairs, metrics)
    mixed = user_values(Ranking(ranking.users[order], ranking.items[order]), pairs[:, ::-1],
                        metrics)
    for metric in metrics:
        np.testing.assert_array_equal(mixed[metric], plain[metric][order])


@pytest.mark.parametrize("metric, said", [
    ("recal@5", "Did you mean 'recall'"), ("recall", "such as recall@20"),
    ("recall@ten", "such as recall@20"), ("ndcg@11", "10 items a user are stored"),
    ("ndcg@0", "cut-off of 0"),
])  # fmt: skip
def test_mistakes_are_named(metric, said):
    ranking, pairs = made(0)
    with pytest.raises(UserError, match=said):
        user_values(ranking, pairs, [metric])


def test_nothing_of_size_users_times_items():
    n_users, n_items, k = 200_000, 200_000, 5  # 40 GB as bytes, users times items
    rng = np.random.default_rng(0)
    users = np.arange(1, n_users + 1, dtype=np.int32)
    items = 1 + (rng.integers(0, n_items, (n_users, 1)) + np.arange(k)) % (n_items - 1)
    items = items.astype(np.int32)
    pairs = np.stack((users, items[:, 2]))
    tracemalloc.start()
    try:
        values = user_values(Ranking(users, items), pairs, ["mrr@5", "hit@2"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.all(values["mrr@5"] == 1 / 3) and not values["hit@2"].any()
    assert peak < 100 * 2**20


def test_means_over_the_users_of_a_run_are_what_the_run_reports(tmp_path):
    given = {**SETTINGS, **write_tiny(tmp_path), "epochs": 1, "run_dir": str(tmp_path / "runs"),
             "metrics": ["Recall", "NDCG", "Precision", "Hit", "MRR", "MAP"],
             "metric_decimal_place": 12}
    result = run("LightGCN", "tiny", config_dict=given)
    rankings, _ = read_rankings(Path(result.run) / "ranking.npz")
    experiment = load_run(result.run)
    for part in ("valid", "test"):
        held = getattr(experiment, part)._dataset
        pairs = np.stack((held.inter_feat["user_id"].numpy(), held.inter_feat["item_id"].numpy()))
        metrics = getattr(result, part)
        assert len(metrics) == 12
        for metric, values in user_values(rankings[part], pairs, list(metrics)).items():
            assert values.mean() == pytest.approx(metrics[metric], abs=1e-12), metric
