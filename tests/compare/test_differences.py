"""From stored rankings to the differences of a table, and the marks that follow."""

import numpy as np
import pytest
from scipy import stats

from recbole_ssr.compare.differences import differences_of
from recbole_ssr.comparison import Comparison, Line
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.result import RunResult

N_USERS, N_ITEMS, K = 90, 60, 10
METRICS = ("recall@5", "recall@10", "ndcg@10")


def line(label, seeds):
    return Line(label, label, {}, tuple(result(seed) for seed in range(seeds)))


def result(seed, **test):
    return RunResult("", "M", "d", seed, {}, "", {}, test, 0, 0, 0.0, 0.0, 0.0, None, 0, "cpu", {},
                     [])


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, N_USERS + 1), 2)
    items = np.concatenate([rng.choice(N_ITEMS - 1, 2, replace=False) + 1 for _ in range(N_USERS)])
    test = np.stack([users, items]).astype(np.int32)
    return Interactions(N_USERS + 1, N_ITEMS, test[:, :0], test[:, :0], test, "split", "ids")


def ranking(split, chance, seed):
    """Random lists, in which each held-out item is put first with this chance."""
    rng = np.random.default_rng(seed)
    rows = np.array([rng.permutation(N_ITEMS - 1)[:K] + 1 for _ in range(N_USERS)])
    for user, item in split.test.T:
        if rng.random() < chance and item not in rows[user - 1]:
            rows[user - 1] = [item, *rows[user - 1][:-1]]
    return Ranking(np.arange(1, N_USERS + 1, dtype=np.int32), rows.astype(np.int32))


def recall(run, split, k):
    truth = [set(split.test[1][split.test[0] == user].tolist()) for user in run.users]
    return np.array([len(held & set(row[:k].tolist())) / len(held)
                     for held, row in zip(truth, run.items)])


@pytest.fixture
def rankings(split):
    chances = {"strong": 0.9, "middle": 0.5, "twin": 0.5, "weak": 0.1}
    return {label: [ranking(split, chance, 10 * place + seed) for seed in range(3)]
            for place, (label, chance) in enumerate(chances.items())}


def lines_of(rankings):
    return [line(label, len(runs)) for label, runs in rankings.items()]


def test_differences_are_those_of_means_over_seeds(split, rankings):
    found = differences_of(lines_of(rankings), rankings, split, METRICS).differences
    assert {d.metric for d in found} == set(METRICS) and len(found) == 3 * (3 + 2)
    for difference in (d for d in found if d.metric.startswith("recall")):
        k = int(difference.metric.partition("@")[2])
        better, worse = (np.mean([recall(run, split, k) for run in rankings[label]], axis=0)
                         for label in (difference.better, difference.worse))
        assert difference.mean == pytest.approx(better.mean() - worse.mean(), abs=1e-12)
        assert difference.mean >= 0 and difference.n_users == N_USERS
        assert difference.p["t"] == pytest.approx(stats.ttest_rel(better, worse).pvalue, rel=1e-6)
        assert difference.low <= difference.mean <= difference.high


def test_holm_covers_all_pairs_and_metrics_of_the_table(split, rankings):
    found, notes = differences_of(lines_of(rankings), rankings, split, METRICS)
    tests = 3 * 6  # metrics times pairs of four lines
    smallest = min(d.p["randomisation"] for d in found)
    assert min(d.p_holm for d in found) == pytest.approx(smallest * tests)
    assert "18 tests" in " ".join(notes)
    order = sorted(found, key=lambda d: d.p["randomisation"])
    assert all(a.p_holm <= b.p_holm for a, b in zip(order, order[1:]))


def test_marks_go_where_differences_are_significant(split, rankings):
    differences = differences_of(lines_of(rankings), rankings, split, METRICS).differences
    lines = tuple(
        Line(label, label, {}, tuple(result(i, **{"recall@10": recall(run, split, 10).mean()})
                                     for i, run in enumerate(runs)))
        for label, runs in rankings.items())
    table = Comparison("d", {}, lines, differences)
    assert table.marks("recall@10") == ("strong", None)
    without_twin = {label: runs for label, runs in rankings.items() if label != "twin"}
    differences = differences_of(lines, without_twin, split, METRICS).differences
    table = Comparison("d", {}, tuple(x for x in lines if x.label != "twin"), differences)
    assert table.marks("recall@10") == ("strong", "middle")


def test_draws_are_enough_for_the_correction(split):
    # 30 lines are 435 pairs: with 9,999 draws no corrected p-value could be below .0435.
    rankings = {f"M{i:02}": [ranking(split, 0.05, i)] for i in range(29)}
    rankings["best"] = [ranking(split, 1.0, 99)]
    found, notes = differences_of(lines_of(rankings), rankings, split, ["recall@10"])
    best = [d for d in found if d.better == "best"]
    assert len(best) == 29 and all(d.p_holm == pytest.approx(435 / 43_500) for d in best)
    assert "43,499 random sign flips" in notes[0]


def test_the_order_of_lines_changes_nothing(split, rankings):
    there = differences_of(lines_of(rankings), rankings, split, METRICS)
    back = differences_of(lines_of(rankings)[::-1], dict(reversed(rankings.items())), split,
                           METRICS)
    for a, b in zip(there.differences, back.differences):
        assert (a.metric, a.better, a.worse, a.p, a.p_holm) == \
            (b.metric, b.better, b.worse, b.p, b.p_holm)
    assert there.notes == back.notes


def test_a_reference_is_tested_against_every_line(split, rankings):
    found = differences_of(lines_of(rankings), rankings, split, ["recall@10"], "weak").differences
    assert {d.better for d in found if d.worse == "weak"} == {"strong", "middle", "twin"}


def test_a_line_without_runs_and_a_metric_of_no_user_are_left_out(split, rankings):
    lines = [*lines_of(rankings), line("failed", 0)]
    found, notes = differences_of(lines, {**rankings, "failed": []}, split,
                                   ["recall@10", "giniindex@10"], reference="failed")
    assert {d.metric for d in found} == {"recall@10"}
    assert not any("failed" in (d.better, d.worse) for d in found)
    text = "\n".join(notes)
    assert "giniindex@10 is not tested" in text
    assert "Nothing is tested against failed: it has no finished run." in text


def test_one_line_is_not_tested(split, rankings):
    only = {"strong": rankings["strong"]}
    assert differences_of(lines_of(only), only, split, METRICS) == ((), ())


def test_a_single_seed_is_said(split, rankings):
    rankings["weak"] = rankings["weak"][:1]
    notes = differences_of(lines_of(rankings), rankings, split, ["recall@10"]).notes
    assert any(note.startswith("Of weak there is one seed only") for note in notes)


def test_rankings_of_other_users_are_refused(split, rankings):
    run = rankings["weak"][1]
    rankings["weak"][1] = Ranking(run.users[1:], run.items[1:])
    with pytest.raises(UserError, match="seeds of weak .* different users"):
        differences_of(lines_of(rankings), rankings, split, ["recall@10"])
    rankings["weak"] = [rankings["weak"][1]]
    with pytest.raises(UserError, match="weak has values of recall@10 for 89 users"):
        differences_of(lines_of(rankings), rankings, split, ["recall@10"])
