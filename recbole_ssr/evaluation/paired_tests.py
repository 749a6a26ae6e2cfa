"""Is a difference between models more than chance? Paired tests on the values of single users.

Every model is measured on the same users, so tests look at each user's difference; a user's value
is the mean over the seeds. What is random is seeded and depends neither on the order of models nor
on the memory at hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from recbole_ssr.comparison import Difference
from recbole_ssr.errors import UserError, nearest

DRAWS = 9999  # p-values in steps of 1e-4
# Differences of metrics in [0, 1] are rounded to this, so that what is equal but for the rounding
# of a mean over seeds counts as equal: ranks and ties depend on it.
_DECIMALS = 12
_BLOCK_BYTES = 32 * 2**20


def compare_users(
    values: Mapping[str, tuple[np.ndarray, np.ndarray]],
    metric: str,
    reference: str | None = None,
    draws: int = DRAWS,
    seed: int = 2020,
) -> list[Difference]:
    """Test the best model against every other, and the second best against all below it.

    These pairs are what marks of best and second best need. Note that p-values here are not
    corrected: see `holm_corrected`.

    Args:
        values: per label the users (n,) and their values (n,), means over the seeds.
        reference: a label that is tested against every other as well.
        draws: of the randomisation test and of the bootstrap.

    Raises:
        UserError: if users differ between labels, are fewer than two or lack a value, or for an
            unknown reference.
    """
    if reference is not None and reference not in values:
        raise UserError(f"reference={reference!r} is not among the lines."
                        f"{nearest(reference, values)} They are {', '.join(values)}.")
    aligned = _aligned(values, metric)
    pairs = pairs_to_test({label: row.mean() for label, row in aligned.items()}, reference)
    if not pairs:
        return []
    differences = np.stack([aligned[a] - aligned[b] for a, b in pairs], axis=1).round(_DECIMALS)
    columns = {
        "randomisation": randomisation_test(differences, draws, seed),
        "t": paired_t_test(differences),
        "wilcoxon": wilcoxon_test(differences),
    }
    low, high = bootstrap_interval(differences, draws, seed)
    effects = effect_size(differences)
    return [
        Difference(metric, better, worse, float(differences[:, i].mean()), float(low[i]),
                   float(high[i]), float(effects[i]), len(differences),
                   {name: float(p[i]) for name, p in columns.items()})
        for i, (better, worse) in enumerate(pairs)
    ]


def pairs_to_test(means: Mapping[str, float],
                  reference: str | None = None) -> list[tuple[str, str]]:
    """Return (better, worse) by mean: the best and every other, the second and every lower one.

    With a `reference`, that one and every other as well. Equal means are ordered by label.

    >>> pairs_to_test({"BPR": 0.1, "SSR": 0.3, "VBPR": 0.2})
    [('SSR', 'VBPR'), ('SSR', 'BPR'), ('VBPR', 'BPR')]
    """
    order = sorted(means, key=lambda label: (-means[label], label))
    return [pair for place, pair in
            ((order.index(pair[0]), pair) for pair in combinations(order, 2))
            if place < 2 or reference in pair]


def _aligned(values: Mapping[str, tuple[np.ndarray, np.ndarray]], metric: str) -> dict:
    """Return per label the values in the order of ascending users."""
    aligned, first = {}, None
    for label, (users, row) in values.items():
        users, row = np.asarray(users), np.asarray(row, dtype=np.float64)
        order = np.argsort(users, kind="stable")
        first = first or (label, users[order])
        if not np.array_equal(first[1], users[order]):
            only = np.setxor1d(first[1], users)
            raise UserError(
                f"{label} has values of {metric} for {len(users)} users and {first[0]} for "
                f"{len(first[1])}; {len(only)} users are in one of them only. Compare runs of one "
                "split."
            )
        without = users[~np.isfinite(row)]
        if len(without):
            raise UserError(f"{label} has no value of {metric} for user {without[0]}. Leave out "
                            "users without items to find.")
        aligned[label] = row[order]
    if first is not None and len(first[1]) < 2:
        raise UserError(f"A paired test of {metric} needs two users or more, not {len(first[1])}.")
    return aligned


def randomisation_test(differences: np.ndarray, draws: int = DRAWS,
                       seed: int = 2020) -> np.ndarray:
    """Return two-sided p-values of the paired randomisation (sign-flip) test of the mean.

    Were the two models alike, each user's difference would be as likely with the other sign. All
    2^n signs are taken where they are no more than draws + 1, else random ones with
    p = (c + 1) / (draws + 1) (Phipson and Smyth, 2010), c of them as extreme as what was observed.
    All pairs see the same signs. Smucker, Allan and Carterette (CIKM 2007) recommend this test for
    ranking metrics.

    Shapes: differences (users, pairs), better minus worse; result (pairs,).

    >>> randomisation_test(np.full((5, 1), 0.1))  # 2 of the 32 signs are as extreme
    array([0.0625])
    """
    total = differences.sum(0)
    exact = len(differences) <= math.log2(draws + 1)
    # Sums in another order differ by rounding: what ties with the observed must count.
    slack = 1e-10 * np.abs(differences).sum(0)
    observed = np.abs(total) - slack
    count, n_signs = np.zeros(differences.shape[1], dtype=np.int64), 0
    for flips in _all_flips(len(differences)) if exact else _flips(len(differences), draws, seed):
        sums = total - 2 * (flips.astype(np.float64) @ differences)
        count += (np.abs(sums) >= observed).sum(0)
        n_signs += len(flips)
    return count / n_signs if exact else (count + 1) / (n_signs + 1)


def _flips(n: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks (rows, n) of random 0 and 1, `draws` rows in all."""
    rng = np.random.default_rng(seed)
    for rows in _blocks(draws, n):
        words = rng.integers(2**64, size=(rows, -(-n // 64)), dtype=np.uint64)
        yield np.unpackbits(words.view(np.uint8), axis=1)[:, :n]


def _all_flips(n: int) -> Iterator[np.ndarray]:
    """Yield blocks (rows, n) of 0 and 1, all 2^n rows."""
    start = 0
    for rows in _blocks(2**n, n):
        yield np.arange(start, start + rows)[:, None] >> np.arange(n) & 1
        start += rows


def _blocks(rows: int, n: int) -> Iterator[int]:
    """Split rows of n float64 into blocks of bounded memory."""
    step = max(1, _BLOCK_BYTES // (8 * n))
    for start in range(0, rows, step):
        yield min(step, rows - start)


def paired_t_test(differences: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of Student's paired t-test: 1 without any difference.

    Shapes: differences (users, pairs); result (pairs,).

    >>> paired_t_test(np.array([[0.1], [0.2], [0.3]])).round(4)
    array([0.0742])
    """
    from scipy import stats  # slow to import

    p = (differences[0] == 0).astype(np.float64)
    varied = np.ptp(differences, axis=0) > 0  # without spread, t is infinite or 0 / 0
    p[varied] = stats.ttest_rel(differences[:, varied], 0 * differences[:, varied]).pvalue
    return p


def wilcoxon_test(differences: np.ndarray) -> np.ndarray:
    """Return two-sided p-values of Wilcoxon's signed-rank test: 1 without any difference.

    Users without a difference are discarded, as Wilcoxon (1945) does.

    Shapes: differences (users, pairs); result (pairs,).

    >>> wilcoxon_test(np.array([[0.1], [0.2], [0.3]]))
    array([0.25])
    """
    from scipy import stats  # slow to import

    columns = [column[column != 0] for column in differences.T]
    return np.array([stats.wilcoxon(column).pvalue if len(column) else 1.0 for column in columns])


def bootstrap_interval(differences: np.ndarray, draws: int = DRAWS, seed: int = 2020,
                       level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the percentile bootstrap interval of the mean difference over users.

    Users are drawn with replacement (Efron and Tibshirani, 1993, chapter 13). The percentile form
    assumes no distribution and no standard error; what BCa would correct, bias and skewness,
    vanishes for the mean of hundreds of users or more.

    Shapes: differences (users, pairs); results (pairs,).
    """
    n = len(differences)
    rng = np.random.default_rng(seed)
    means = []
    for rows in _blocks(draws, n):
        drawn = rng.integers(n, size=(rows, n))
        times = np.array([np.bincount(row, minlength=n) for row in drawn], dtype=np.float64)
        means.append(times @ differences / n)
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


def effect_size(differences: np.ndarray) -> np.ndarray:
    """Return Cohen's d_z: mean difference over the standard deviation of the differences.

    0 without any difference, infinite where all are the same.

    Shapes: differences (users, pairs); result (pairs,).

    >>> effect_size(np.array([[1.0], [2.0], [3.0]]))
    array([2.])
    """
    mean, varied = differences.mean(0), np.ptp(differences, axis=0) > 0
    effect = np.where(mean == 0, 0.0, np.copysign(np.inf, mean))
    effect[varied] = mean[varied] / differences[:, varied].std(0, ddof=1)
    return effect


def holm(p_values: Sequence[float], family: int | None = None) -> np.ndarray:
    """Return p-values after Holm's step-down correction (1979).

    Args:
        p_values: of the tests made, (m,).
        family: tests to answer for where not all were made, chosen by what the data showed; the
            others count as p = 1, which never helps those made. Default m.
    """
    p, corrected = np.asarray(p_values, dtype=np.float64), np.empty(len(p_values))
    order = p.argsort(kind="stable")
    steps = p[order] * (max(family or 0, len(p)) - np.arange(len(p)))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def family_of(n_lines: int, n_metrics: int) -> int:
    """Return how many tests a table of `n_lines` models and `n_metrics` metrics stands for.

    The pairs tested are chosen by the data: the best of ten equal models beats the worst by more
    than chance lets two models differ. So a table answers for all of its pairs.

    >>> family_of(n_lines=3, n_metrics=4)
    12
    """
    return n_metrics * math.comb(n_lines, 2)


def holm_corrected(tests: Sequence[Difference], family: int | None = None) -> list[Difference]:
    """Return the tests with `p_holm`: the randomisation test's p, corrected over all of them.

    `family` is as in `holm`.
    """
    corrected = holm([test.p["randomisation"] for test in tests], family)
    return [replace(test, p_holm=float(p)) for test, p in zip(tests, corrected)]
