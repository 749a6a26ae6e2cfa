"""The collector gives every metric what the stock one gives it, and the user ids besides."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import Collector

from recbole_ssr import compat
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.collector import FullRankingCollector, match_positives

compat.apply()

METRICS = [
    *("Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"),
    *("ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage", "ShannonEntropy"),
]


def make_config(metrics=METRICS, topk=(1, 3)):
    return {
        "metrics": list(metrics),
        "topk": list(topk),
        "eval_args": {"mode": {"valid": "full", "test": "full"}},
        "device": torch.device("cpu"),
        "metric_decimal_place": 10,
        "USER_ID_FIELD": "user_id",
        "LABEL_FIELD": "label",
        "tail_ratio": 0.2,
    }


def random_batch(generator, first_user, n_users, n_items):
    """Scores without ties, and one to three positives a user, the first of them listed twice."""
    scores = torch.rand(n_users, n_items, generator=generator).argsort(dim=1).float()
    scores[:, 0] = -np.inf
    row, item = [], []
    for user in range(n_users):
        count = int(torch.randint(1, 4, (1,), generator=generator))
        chosen = 1 + torch.randperm(n_items - 1, generator=generator)[:count]
        item += [*chosen.tolist(), int(chosen[0])]
        row += [user] * (count + 1)
    users = torch.arange(first_user, first_user + n_users)
    return scores, Interaction({"user_id": users}), torch.tensor(row), torch.tensor(item)


def collect(collector, batches, n_items):
    generator = torch.Generator().manual_seed(0)
    popularity = torch.randint(1, 50, (n_items,), generator=generator).tolist()
    collector.data_struct.set("data.num_items", n_items)
    collector.data_struct.set("data.count_items", Counter(dict(enumerate(popularity))))
    for scores, *rest in batches:
        collector.eval_batch_collect(scores.clone(), *rest)
    return collector.get_data_struct()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    n_items=st.integers(5, 30),
)
def test_resources_and_metrics_equal_the_stock_ones(seed, sizes, n_items):
    generator = torch.Generator().manual_seed(seed)
    batches = [random_batch(generator, 10 * i, n, n_items) for i, n in enumerate(sizes)]
    config = make_config()
    stock = collect(Collector(config), batches, n_items)
    ours = collect(FullRankingCollector(config), batches, n_items)
    for key in ("rec.items", "rec.topk"):
        assert ours[key].dtype == stock[key].dtype
        assert torch.equal(ours[key], stock[key])
    expected, found = Evaluator(config).evaluate(stock), Evaluator(config).evaluate(ours)
    assert list(found) == list(expected) and len(found) == 2 * len(METRICS)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6), name


def test_the_four_repaired_metrics_by_hand():
    # Two users, five items, two recommendations each: items 1, 2 and items 1, 3.
    scores = torch.tensor([[-np.inf, 9, 8, 1, 0], [-np.inf, 9, 1, 8, 0]])
    config = make_config(METRICS[6:10], topk=[2])
    for kind in (Collector, FullRankingCollector):
        collector = kind(config)
        collector.data_struct.set("data.num_items", 5)
        collector.data_struct.set("data.count_items", Counter({1: 10, 2: 4, 3: 1, 4: 7}))
        collector.eval_batch_collect(scores, {}, torch.tensor([0, 1]), torch.tensor([2, 4]))
        result = Evaluator(config).evaluate(collector.get_data_struct())
        assert result["itemcoverage@2"] == pytest.approx(3 / 5)
        # Counts in rising order 0, 0, 1, 1, 2 with weights 2i - 6: (0 + 2 + 8) / (5 * 4).
        assert result["giniindex@2"] == pytest.approx(0.5)
        assert result["averagepopularity@2"] == pytest.approx(((10 + 4) / 2 + (10 + 1) / 2) / 2)
        # The rarest fifth of four items is one item, number 3: one of four recommendations.
        assert result["tailpercentage@2"] == pytest.approx(1 / 4)


def test_lists_end_where_only_masked_items_are_left():
    collector = FullRankingCollector(make_config(["Recall"], topk=[3]))
    collector.keep_ranking = True
    scores = torch.tensor([[-np.inf, 2, -np.inf, 1], [-np.inf, 1, 2, 3]])
    users = Interaction({"user_id": torch.tensor([1, 2])})
    collector.eval_batch_collect(scores, users, torch.tensor([0, 1]), torch.tensor([3, 3]))
    assert collector.get_data_struct()["rec.topk"].tolist() == [[0, 1, 0, 1], [1, 0, 0, 1]]
    assert collector.take_ranking().items.tolist() == [[1, 3, 0], [3, 2, 1]]


def test_positives_count_once_and_rows_without_any_count_zero():
    items = torch.tensor([[3, 1], [0, 2], [4, 0]])
    hits, positives = match_positives(
        items, torch.tensor([2, 0, 0, 0]), torch.tensor([0, 1, 1, 4]), n_items=5
    )
    assert hits.tolist() == [[0, 1], [0, 0], [0, 1]]
    assert positives.tolist() == [2, 0, 1]
    none = torch.tensor([], dtype=torch.long)
    hits, positives = match_positives(items, none, none, n_items=5)
    assert hits.sum() == 0 and positives.tolist() == [0, 0, 0]


def test_users_follow_the_rows_and_are_reset():
    config = make_config(["Recall"])
    collector = FullRankingCollector(config)
    generator = torch.Generator().manual_seed(3)
    batches = [random_batch(generator, first, 3, 8) for first in (20, 40)]
    struct = collect(collector, batches, 8)
    assert struct["rec.users"].tolist() == [20, 21, 22, 40, 41, 42]
    assert len(struct["rec.topk"]) == 6 and "rec.items" not in struct
    struct = collect(collector, batches[1:], 8)
    assert struct["rec.users"].tolist() == [40, 41, 42]
    assert len(struct["rec.topk"]) == 3


def test_sampled_ranking_has_one_user_a_row():
    collector = FullRankingCollector(make_config(["Recall"], topk=[1]))
    repeated = Interaction({"user_id": torch.tensor([7, 7, 7, 5, 5])})
    scores = torch.tensor([[-np.inf, 2.0, 1.0], [-np.inf, 1.0, 2.0]])
    collector.eval_batch_collect(scores, repeated, torch.tensor([0, 1]), torch.tensor([1, 1]))
    struct = collector.get_data_struct()
    assert struct["rec.users"].tolist() == [7, 5]
    assert struct["rec.topk"].tolist() == [[1, 1], [0, 1]]
    scattered = Interaction({"user_id": torch.tensor([7, 5, 7])})
    with pytest.raises(UserError, match="consecutive"):
        collector.eval_batch_collect(scores, scattered, torch.tensor([0]), torch.tensor([1]))


@pytest.mark.parametrize("metric", ["GAUC", "AUC"])
def test_other_needs_are_left_to_the_stock_collector(metric):
    config = make_config([metric])
    if metric == "GAUC":
        batches = [random_batch(torch.Generator().manual_seed(5), 0, 4, 9)]
    else:
        label = Interaction({"user_id": torch.arange(4), "label": torch.tensor([0.0, 1, 0, 1])})
        batches = [(torch.tensor([0.1, 0.4, 0.5, 0.9]), label, None, None)]
    stock = collect(Collector(config), batches, 9)
    ours = collect(FullRankingCollector(config), batches, 9)
    assert "rec.topk" not in ours
    assert Evaluator(config).evaluate(ours) == Evaluator(config).evaluate(stock)


def test_a_nan_score_is_refused():
    scores, *rest = random_batch(torch.Generator().manual_seed(1), 0, 3, 9)
    scores[1, 4] = float("nan")
    with pytest.raises(UserError, match="NaN for 1 of 3 users"):
        FullRankingCollector(make_config()).eval_batch_collect(scores, *rest)
