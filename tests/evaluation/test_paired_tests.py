"""Paired tests against scipy, enumeration, hand-computed numbers and their own promises."""

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from recbole_ssr.comparison import Difference
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation import paired_tests
from recbole_ssr.evaluation.paired_tests import (
    bootstrap_interval,
    compare_users,
    effect_size,
    family_of,
    holm,
    holm_corrected,
    paired_t_test,
    pairs_to_test,
    randomisation_test,
    wilcoxon_test,
)


def sample(n, shift=0.0, seed=0, columns=1):
    """Differences that look like those of recall: many zeros, few distinct values."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-3, 4, size=(n, columns)) / 4 + shift) * (rng.random((n, columns)) < 0.7)


def one_column(*values):
    return np.array(values, dtype=np.float64)[:, None]


def enumerated(differences):
    """The randomisation test by a loop over all signs, in exact arithmetic of quarters."""
    d = np.rint(np.asarray(differences) * 4).astype(int)
    sums = [sum(s * x for s, x in zip(signs, d))
            for signs in itertools.product((1, -1), repeat=len(d))]
    return np.mean([abs(total) >= abs(d.sum()) for total in sums])


@pytest.mark.parametrize("n", [2, 5, 11])
def test_few_users_are_enumerated(n):
    d = sample(n, columns=4, seed=n)
    expected = [enumerated(column) for column in d.T]
    assert randomisation_test(d) == pytest.approx(expected, abs=1e-15)


def test_enumeration_is_that_of_scipy():
    d = np.random.default_rng(4).normal(0.4, 1, size=(12, 1))
    other = stats.permutation_test((d[:, 0], np.zeros(12)), lambda a, b: np.mean(a - b),
                                   permutation_type="samples",
                                   n_resamples=np.inf)
    assert randomisation_test(d)[0] == pytest.approx(other.pvalue)


def test_random_signs_approach_the_enumeration():
    d = sample(16, shift=0.25, seed=1)
    exact = enumerated(d[:, 0])
    assert 0.01 < exact < 0.6
    found = randomisation_test(d, draws=30_000)[0]
    # Five standard errors of a share of 30,000 draws.
    assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / 30_000)


def test_a_random_p_value_counts_the_observed_signs_themselves():
    assert randomisation_test(np.ones((200, 1)))[0] == 1 / 10_000
    assert randomisation_test(np.ones((200, 1)), draws=19_999)[0] == 1 / 20_000


def test_sums_that_tie_but_for_rounding_count():
    # 0.1 + 0.2 - 0.3 is 5.6e-17 where it should be 0: all eight sums reach |0|.
    d = one_column(0.1, 0.2, -0.3)
    assert randomisation_test(d)[0] == 1


@pytest.mark.parametrize("test", [randomisation_test, paired_t_test, wilcoxon_test])
def test_no_difference_at_all_gives_one(test):
    for n in (2, 6, 300):
        assert test(np.zeros((n, 2))).tolist() == [1, 1]


def test_t_is_that_of_scipy_on_the_two_samples():
    rng = np.random.default_rng(1)
    a, b = rng.random((40, 3)), rng.random((40, 3))
    assert paired_t_test(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)


def test_t_by_hand():
    # Differences 1, 2, 3: mean 2, s 1, t = 2 sqrt(3); with 2 degrees of freedom
    # p = 1 - t / sqrt(2 + t^2).
    t = 2 * math.sqrt(3)
    assert paired_t_test(one_column(1, 2, 3))[0] == pytest.approx(1 - t / math.sqrt(2 + t * t))


def test_t_where_all_users_differ_alike():
    d = np.array([[0.5, -0.5, 0.0]] * 4)
    assert paired_t_test(d).tolist() == [0, 0, 1]


def test_wilcoxon_by_hand_without_zeros():
    # Ranks 1..5 of |d|, negative only rank 1: sums of the negative ranks of at most 1 are 0 and 1,
    # so 2 of 32 assignments, twice for both sides.
    d = one_column(-0.1, 0.2, 0.3, 0.4, 0.5)
    assert wilcoxon_test(d)[0] == pytest.approx(4 / 32)


def test_wilcoxon_leaves_out_users_without_difference():
    d = sample(60, shift=0.1)
    assert 0 < (d != 0).sum() < 60
    assert wilcoxon_test(d)[0] == pytest.approx(stats.wilcoxon(d[d != 0]).pvalue)
    assert wilcoxon_test(np.vstack([d, np.zeros((50, 1))])) == wilcoxon_test(d)


@pytest.mark.parametrize("test", [randomisation_test, paired_t_test, wilcoxon_test])
def test_p_values_are_uniform_without_a_difference(test):
    d = np.random.default_rng(7).normal(size=(60, 800))
    p = test(d)
    # 1 in 1,000 by chance; the seed is fixed.
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert stats.binomtest(int((p <= 0.05).sum()), 800, 0.05).pvalue > 1e-3


def test_a_pair_does_not_depend_on_the_pairs_beside_it():
    d = sample(150, shift=0.05, columns=6)
    alone = [randomisation_test(d[:, [i]])[0] for i in range(6)]
    assert randomisation_test(d).tolist() == alone
    assert randomisation_test(d[:, ::-1]).tolist() == alone[::-1]


def test_nothing_depends_on_the_memory_at_hand(monkeypatch):
    d = sample(70, shift=0.05, columns=2)
    few = sample(9, columns=2)

    def all_of_it():
        return (randomisation_test(d), randomisation_test(few), *bootstrap_interval(d))

    whole = all_of_it()
    for size in (1, 8 * 70 * 3, 8 * 70 * 1000):
        monkeypatch.setattr(paired_tests, "_BLOCK_BYTES", size)
        for a, b in zip(all_of_it(), whole):
            assert a == pytest.approx(b, abs=1e-14)


def test_blocks_keep_to_the_memory():
    rows = list(paired_tests._blocks(9999, 40_000))
    assert sum(rows) == 9999 and max(rows) * 40_000 * 8 <= paired_tests._BLOCK_BYTES


def test_the_seed_decides():
    d = sample(100, shift=0.1)
    assert randomisation_test(d, seed=1) == randomisation_test(d, seed=1)
    assert bootstrap_interval(d, seed=1) == bootstrap_interval(d, seed=1)
    assert randomisation_test(d, seed=1) != randomisation_test(d, seed=2)
    assert bootstrap_interval(d, seed=1) != bootstrap_interval(d, seed=2)


def test_the_interval_is_that_of_scipy():
    d = sample(200, shift=0.1)
    other = stats.bootstrap((d[:, 0],), np.mean, n_resamples=20_000, method="percentile",
                            random_state=np.random.default_rng(5)).confidence_interval
    low, high = bootstrap_interval(d, draws=20_000)
    error = d.std() / math.sqrt(200)
    assert abs(low[0] - other.low) < 0.05 * error and abs(high[0] - other.high) < 0.05 * error


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    n, repeats, mean = 120, 400, 0.25
    d = np.random.default_rng(11).exponential(mean, size=(n, repeats))
    low, high = bootstrap_interval(d, draws=2000)
    covered = ((low <= mean) & (mean <= high)).mean()
    # 95 % within four standard errors, less 1 % that a skewed sample of 120 costs.
    assert 0.95 - 0.01 - 4 * math.sqrt(0.95 * 0.05 / repeats) < covered < 0.995


def test_effect_by_hand():
    d = np.array([[1.0, 0, 0.5, -0.5], [2, 0, 0.5, -0.5], [3, 0, 0.5, -0.5]])
    assert effect_size(d).tolist() == [2, 0, math.inf, -math.inf]


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04: times 4, 3, 2, 1 = .02 .03 .06 .04, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


def test_holm_answers_for_the_whole_family():
    # Family of 10: .001 x 10, .004 x 9.
    assert holm([0.004, 0.001], family=10) == pytest.approx([0.036, 0.01])
    assert holm([0.004, 0.001], family=2) == pytest.approx(holm([0.004, 0.001]))


def test_the_family_is_all_pairs_of_the_table():
    assert family_of(4, 3) == 18
    assert family_of(1, 3) == 0


def users_and(*values):
    return np.arange(len(values)), np.array(values, dtype=np.float64)


def lines_of(n_lines, n=60, spread=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return {f"M{i}": (np.arange(n), rng.random(n) + spread * i) for i in range(n_lines)}


def test_pairs_are_those_that_marks_need():
    means = {"C": 0.1, "A": 0.3, "D": 0.05, "B": 0.2}
    assert pairs_to_test(means) == [("A", "B"), ("A", "C"), ("A", "D"), ("B", "C"), ("B", "D")]
    assert pairs_to_test(means, "D") == [*pairs_to_test(means), ("C", "D")]
    assert pairs_to_test(means, "A") == pairs_to_test(means)
    for tie in ({"b": 1.0, "a": 1.0}, {"a": 1.0, "b": 1.0}):
        assert pairs_to_test(tie) == [("a", "b")]
    assert pairs_to_test({"A": 1.0}) == []


def test_a_comparison_by_hand():
    values = {"weak": users_and(0, 0.5, 0, 0.25), "strong": users_and(1, 0.5, 0.5, 0.75)}
    [found] = compare_users(values, "recall@20")
    # Differences 1, 0, .5, .5: mean .5, s = sqrt(1/6); of 16 signs only those that leave the three
    # positive ones, or turn them all, reach it.
    assert astuple(found)[:4] == ("recall@20", "strong", "weak", 0.5)
    assert found.effect == pytest.approx(0.5 * math.sqrt(6))
    assert found.n_users == 4 and found.p_holm is None
    assert found.p["randomisation"] == 0.25
    assert found.p["t"] == pytest.approx(stats.ttest_rel([1, .5, .5, .75], [0, .5, 0, .25]).pvalue)
    assert list(found.p) == ["randomisation", "t", "wilcoxon"]
    assert found.low <= 0.5 <= found.high


def test_the_order_of_lines_and_of_users_changes_nothing():
    values = lines_of(5)
    shuffle = np.random.default_rng(2).permutation(60)
    turned = {label: (users[shuffle], row[shuffle])
              for label, (users, row) in reversed(values.items())}
    first, second = (compare_users(v, "ndcg@10", reference="M0") for v in (values, turned))
    assert len(first) == 4 + 3 + 2
    for a, b in zip(first, second):
        assert astuple(a)[:3] == astuple(b)[:3] and a.p == b.p
        assert astuple(a)[3:7] == pytest.approx(astuple(b)[3:7], abs=1e-14)


def test_what_is_equal_but_for_rounding_is_equal():
    mean = (0.1 + 0.2 + 0.3) / 3, (0.3 + 0.2 + 0.1) / 3
    assert mean[0] != mean[1]
    values = {"A": users_and(*[mean[0]] * 9, 0.7), "B": users_and(*[mean[1]] * 9, 0.7)}
    [found] = compare_users(values, "recall@10")
    assert set(found.p.values()) == {1.0} and (found.mean, found.effect) == (0, 0)


def test_one_line_has_nothing_to_differ_from():
    assert compare_users({"A": users_and(1, 0)}, "recall@10") == []
    assert compare_users({}, "recall@10") == []


@pytest.mark.parametrize("values, settings, message", [
    ({"A": users_and(1, 0, 1), "B": users_and(1, 0)}, {}, r"B has .* 2 users and A for 3; 1 users"),
    ({"A": users_and(1, 0), "B": (np.array([0, 7]), np.ones(2))}, {}, "2 users are in one of them"),
    ({"A": users_and(1, np.nan), "B": users_and(1, 0)}, {}, "no value of recall@10 for user 1"),
    ({"A": users_and(1), "B": users_and(0)}, {}, "two users or more, not 1"),
    (lines_of(2), {"reference": "M3"}, "reference='M3' is not among the lines"),
])
def test_mistakes_are_explained(values, settings, message):
    with pytest.raises(UserError, match=message):
        compare_users(values, "recall@10", **settings)


def test_holm_over_a_table():
    tests = [Difference("recall@10", "A", label, 0.1, 0, 0.2, 0.3, 9,
                        {"randomisation": p, "t": 0.5, "wilcoxon": 0.5})
             for label, p in (("B", 0.02), ("C", 0.01))]
    assert [t.p_holm for t in holm_corrected(tests)] == pytest.approx([0.02, 0.02])
    assert [t.p_holm for t in holm_corrected(tests, family=6)] == pytest.approx([0.1, 0.06])
    assert [t.worse for t in holm_corrected(tests)] == ["B", "C"]


def test_equal_models_are_rarely_told_apart_although_the_table_picks_the_pairs():
    n_lines, n_tables = 8, 300
    smallest, pairs = [], []
    for seed in range(n_tables):
        lines = np.random.default_rng(seed).random((n_lines, 40))
        pairs = pairs_to_test(dict(enumerate(lines.mean(1))))
        d = np.stack([lines[a] - lines[b] for a, b in pairs], axis=1)
        smallest.append(randomisation_test(d, draws=2999, seed=seed).min())
    # Holm finds any difference at all where the smallest p-value times the family is below 5 %.
    for_all, for_pairs_picked = (sum(p * family < 0.05 for p in smallest)
                                 for family in (family_of(n_lines, 1), len(pairs)))
    assert for_all <= 0.05 * n_tables + 2 * math.sqrt(0.05 * 0.95 * n_tables)
    assert for_pairs_picked > 0.08 * n_tables
