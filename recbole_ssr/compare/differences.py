"""Differences of a comparison: the stored rankings of all seeds in, corrected tests out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recbole_ssr.comparison import Difference, Line
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.paired_tests import (
    DRAWS,
    compare_users,
    family_of,
    holm_corrected,
)
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.user_metrics import user_values

SEED = 2020
# Holm multiplies the smallest p-value that random signs can give, 1 / (draws + 1), by the size of
# the family: this many draws for each test of it leave 0.01, well below the usual 0.05.
_DRAWS_PER_TEST = 100


class Tested(NamedTuple):
    """The tests of a table, and what its readers must know about them."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def differences_of(
    lines: Sequence[Line],
    rankings: Mapping[str, Sequence[Ranking]],
    interactions: Interactions,
    metrics: Sequence[str],
    reference: str | None = None,
    seed: int = SEED,
) -> Tested:
    """Test on the test part what marks of best and second best need.

    Lines without rankings are left out, and metrics that users do not have one by one; notes tell.

    Args:
        lines: of the table.
        rankings: of the test part, one per seed, by label.
        interactions: the split that all rankings share.
        metrics: of the table, such as "recall@20".
        reference: label of a line that is tested against every other as well.
        seed: of random signs and of the bootstrap.

    Raises:
        UserError: rankings of other users.
    """
    of_line = {line.label: rankings[line.label] for line in lines if rankings.get(line.label)}
    by_metric, notes = {}, []
    for metric in metrics:
        try:
            by_metric[metric] = {label: _mean_over_seeds(label, runs, interactions, metric)
                                 for label, runs in of_line.items()}
        except _NotByUser as error:
            notes.append(f"{metric} is not tested: {error}.")
    if reference is not None and reference not in of_line:
        notes.append(f"Nothing is tested against {reference}: it has no finished run.")
        reference = None
    if len(of_line) < 2 or not by_metric:
        return Tested((), tuple(notes))
    family = family_of(len(of_line), len(by_metric))
    draws = max(DRAWS, _DRAWS_PER_TEST * family - 1)
    tests = [test for metric, values in by_metric.items()
             for test in compare_users(values, metric, reference, draws, seed)]
    notes = [*_notes(of_line, family, draws), *notes]
    return Tested(tuple(holm_corrected(tests, family)), tuple(notes))


class _NotByUser(Exception):
    """A metric that users do not have one by one."""


def _mean_over_seeds(label: str, runs: Sequence[Ranking], interactions: Interactions,
                     metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the users (n,) and the mean over runs of a metric of each, (n,)."""
    users, total = runs[0].users, 0
    for run in runs:
        if not np.array_equal(run.users, users):
            raise UserError(f"The seeds of {label} have stored rankings of different users. Delete "
                            "their run folders and run the same command again.")
        try:
            total = total + user_values(run, interactions.test, [metric])[metric]
        except UserError as error:
            raise _NotByUser(str(error)) from None
    return users, total / len(runs)


def _notes(of_line: Mapping[str, Sequence], family: int, draws: int) -> list[str]:
    notes = [
        f"Differences are tested by user, each user's value being the mean over seeds, by a "
        f"two-sided randomisation test with {draws:,} random sign flips, and beside it by "
        "Student's paired t and Wilcoxon's signed ranks; intervals are 95 % percentile bootstrap "
        "intervals over users.",
        f"p is Holm-corrected for the {family} tests of all pairs and metrics of the table, since "
        "the table itself chooses which pairs matter.",
    ]
    single = [label for label, runs in of_line.items() if len(runs) == 1]
    if single:
        notes.append(f"Of {', '.join(single)} there is one seed only: tests cover the choice of "
                     "users, not that of the seed.")
    return notes
