"""Groups of a comparison: means of single users over seeds, and what readers are told."""

import math
import statistics

import numpy as np
import pytest

from recbole_ssr.compare.groups import groups_of
from recbole_ssr.comparison import Line
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation import beyond_accuracy as beyond
from recbole_ssr.evaluation.rankings import Interactions, Ranking

N_USERS, N_ITEMS, K = 30, 40, 5


def lines_of(*labels):
    return [Line(label, label, {}, ()) for label in labels]


@pytest.fixture(scope="module")
def split():
    """Items from 31 on are cold; users have 0 to 12 training interactions."""
    rng = np.random.default_rng(0)
    train, test = [], []
    for user in range(1, N_USERS):
        train += [(user, 1 + item) for item in rng.permutation(30)[:user % 13]]
        test += [(user, 1 + item) for item in rng.permutation(N_ITEMS - 1)[:3]]
    train, test = (np.array(pairs, dtype=np.int32).T for pairs in (train, test))
    return Interactions(N_USERS, N_ITEMS, train, test[:, :0], test, "split", "ids")


@pytest.fixture(scope="module")
def rankings():
    rng = np.random.default_rng(1)
    users = np.arange(1, N_USERS, dtype=np.int32)

    def one():
        items = np.stack([1 + rng.permutation(N_ITEMS - 1)[:8] for _ in users])
        return Ranking(users, items.astype(np.int32))

    return {"A": [one(), one(), one()], "B": [one()]}


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
    few = np.arange(N_ITEMS) > 25
    return {"text": (vectors, np.arange(N_ITEMS) > 0), "image": (-vectors, few)}


@pytest.fixture(scope="module")
def groups(split, rankings, features):
    return groups_of(lines_of("B", "A"), rankings, split, K, [5, 10], 0.8, features).groups


def recall_by_loops(ranking, split, counts_pair):
    """Mean over users with a pair that counts of the share of those pairs among the best K."""
    values = []
    for user, ranked in zip(ranking.users.tolist(), ranking.items[:, :K].tolist()):
        held = {i for u, i in split.test.T.tolist() if u == user and counts_pair(u, i)}
        if held:
            values.append(len(held & set(ranked)) / len(held))
    return statistics.fmean(values), len(values)


def test_names_kinds_metrics_and_order_of_lines(groups):
    assert [(group.name, group.kind) for group in groups] == [
        ("users with at most 5 interactions", "users"),
        ("users with 6-10 interactions", "users"),
        ("users with more than 10 interactions", "users"),
        ("cold items", "cold"), ("head items", "popularity"), ("tail items", "popularity"),
        ("beyond accuracy", "beyond"),
    ]  # fmt: skip
    for group in groups[:-1]:
        assert list(group.values) == ["recall@5", "ndcg@5"]
    assert list(groups[-1].values) == [
        "coverage@5", "gini@5", "average popularity@5", "novelty@5", "tail share@5",
        "diversity@5 (text)", "diversity@5 (image)",
    ]  # fmt: skip
    for group in groups:
        assert all(list(by_label) == ["B", "A"] for by_label in group.values.values())


@pytest.mark.parametrize("name, rule", [
    ("users with at most 5 interactions", lambda u, _: u % 13 <= 5),
    ("users with 6-10 interactions", lambda u, _: 6 <= u % 13 <= 10),
    ("users with more than 10 interactions", lambda u, _: u % 13 > 10),
    ("cold items", lambda _, i: i > 30),
])  # fmt: skip
def test_spreads_are_over_seeds_of_means_over_users(name, rule, groups, split, rankings):
    group = next(group for group in groups if group.name == name)
    for label, runs in rankings.items():
        means, sizes = zip(*(recall_by_loops(run, split, rule) for run in runs))
        spread = group.values["recall@5"][label]
        assert set(sizes) == {group.size} and spread.n == len(runs)
        assert spread.mean == pytest.approx(statistics.fmean(means), abs=1e-12)
        if len(runs) > 1:
            assert spread.std == pytest.approx(statistics.stdev(means), abs=1e-12)
        else:
            assert math.isnan(spread.std)


def test_beyond_accuracy_is_a_row_per_measure(groups, split, rankings, features):
    values = groups[-1].values
    assert groups[-1].size == N_USERS - 1
    counts = [beyond.recommendation_counts(run, N_ITEMS, K) for run in rankings["A"]]
    measured = {
        "coverage@5": [len(set(run.items[:, :K].ravel())) / 39 for run in rankings["A"]],
        "gini@5": [beyond.gini(count) for count in counts],
        "novelty@5": [beyond.list_novelty(run, split, K).mean() for run in rankings["A"]],
        "diversity@5 (image)": [np.nanmean(beyond.list_diversity(run, *features["image"], K))
                                for run in rankings["A"]],
    }
    for name, runs in measured.items():
        assert values[name]["A"].mean == pytest.approx(statistics.fmean(runs))
        assert values[name]["A"].std == pytest.approx(statistics.stdev(runs))
    assert values["diversity@5 (text)"]["B"].mean != values["diversity@5 (image)"]["B"].mean


def test_the_tail_of_the_measures_is_that_of_the_groups(split, rankings):
    every_head = groups_of(lines_of("B"), rankings, split, K, [5], 1).groups
    assert "tail items" not in [group.name for group in every_head]
    assert every_head[-1].values["tail share@5"]["B"].mean == 0
    small_head = groups_of(lines_of("B"), rankings, split, K, [5], 1e-6).groups
    warm = (rankings["B"][0].items[:, :K] <= 30).mean()
    assert 0 < small_head[-1].values["tail share@5"]["B"].mean < warm


def test_notes_name_groups_left_out_and_lists_without_features(split, rankings, features):
    image = features["image"][1]
    lists = {label: [run.items[:, :K] for run in runs] for label, runs in rankings.items()}
    short = {label: sum(int((image[items].sum(1) < 2).sum()) for items in runs)
             for label, runs in lists.items()}
    assert min(short.values()) > 0
    notes = groups_of(lines_of("A", "B"), rankings, split, K, [5, 10, 50], 0.8, features).notes
    assert "Users with more than 50 interactions: left out, no user of the test part has that " \
           "many in training." in notes
    assert "Users with at most 5 interactions: 2 of them without any in training." in notes
    for label, runs in rankings.items():
        assert (f"Diversity (image) of {label}: {short[label]} of {29 * len(runs)} lists left out, "
                "with fewer than two items that have it.") in notes
    assert not any("(text)" in note for note in notes) and len(notes) == 4


def test_lines_without_rankings_are_left_out(split, rankings):
    some = groups_of(lines_of("A", "C"), {**rankings, "C": []}, split, K, [5], 0.8).groups
    assert all(list(by_label) == ["A"] for group in some for by_label in group.values.values())
    assert groups_of(lines_of("C"), rankings, split, K, [5], 0.8) == ((), ())


def test_no_list_with_two_described_items_has_no_diversity(split, rankings):
    nothing = {"text": (np.ones((N_ITEMS, 2), dtype=np.float32), np.zeros(N_ITEMS, bool))}
    found = groups_of(lines_of("B"), rankings, split, K, [5], 0.8, nothing).groups
    assert math.isnan(found[-1].values["diversity@5 (text)"]["B"].mean)


def test_rankings_of_other_users_are_refused(split, rankings):
    run = rankings["B"][0]
    fewer = {"B": [Ranking(run.users[1:], run.items[1:])]}
    with pytest.raises(UserError, match="ranking of B is not of the 29 users of the test part"):
        groups_of(lines_of("B"), fewer, split, K, [5], 0.8)


def test_a_cut_off_beyond_the_stored_items_is_refused(split, rankings):
    with pytest.raises(UserError, match="cut-off of 9"):
        groups_of(lines_of("B"), rankings, split, 9, [5], 0.8)
