"""Groups of users and items, and measures beyond accuracy, of all lines over their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recbole_ssr.comparison import Group, Line, Spread
from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation import beyond_accuracy as beyond
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.subsets import (
    Subset,
    Subsets,
    cold_items,
    head_and_tail,
    head_items,
    subset_values,
    user_groups,
)
from recbole_ssr.report.sheet import first_up

# By modality: the matrix (n_items, d) float32, and which items have it, (n_items,) bool.
Features = Mapping[str, tuple[np.ndarray, np.ndarray]]


class Grouped(NamedTuple):
    """The groups that hold somebody, and notes on what is left out."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def groups_of(
    lines: Sequence[Line],
    rankings: Mapping[str, Sequence[Ranking]],
    interactions: Interactions,
    cutoff: int,
    user_borders: Sequence[int],
    head_share: float,
    features: Features | None = None,
) -> Grouped:
    """Return recall and ndcg of all groups on the test part, and beyond accuracy as the last group.

    Groups without users are left out and a note says why; so are lines without rankings.

    Args:
        lines: their order is that of the values.
        rankings: of the test part, one per seed, by label.
        interactions: the split that all rankings share.
        cutoff: K of all metrics.
        user_borders: upper borders of the groups of users by training interactions.
        head_share: share of the training interactions that the head items receive.
        features: for diversity by modality.

    Raises:
        UserError: a border, share or cut-off out of range, or a ranking of other users.
    """
    of_line = {line.label: rankings[line.label] for line in lines if rankings.get(line.label)}
    for label, runs in of_line.items():
        _check(label, runs, interactions)
    subsets = (user_groups(interactions, user_borders), cold_items(interactions),
               head_and_tail(interactions, head_share))
    if not of_line:
        return Grouped((), ())
    metrics = (f"recall@{cutoff}", f"ndcg@{cutoff}")
    groups = [_group(subset, of_line, interactions, metrics)
              for kind in subsets for subset in kind.subsets]
    measures = _measures(interactions, cutoff, head_share, features or {})
    return Grouped((*groups, _beyond(measures, of_line, interactions)),
                   (*_notes(subsets), *_notes_on_lists(of_line, cutoff, features or {})))


def _notes(subsets: Sequence[Subsets]) -> list[str]:
    notes = []
    for kind in subsets:
        notes += [f"{first_up(name)}: left out, {reason}." for name, reason in
                  kind.left_out.items()]
        notes += [f"{first_up(note)}." for note in kind.notes]
    return notes


def _notes_on_lists(
    of_line: Mapping[str, Sequence[Ranking]], k: int, features: Features
) -> Iterator[str]:
    for modality, of_items in features.items():
        for label, runs in of_line.items():
            short = sum(beyond.too_short(run, *of_items, k) for run in runs)
            if short:
                yield (f"Diversity ({modality}) of {label}: {short} of "
                       f"{sum(len(run.users) for run in runs)} lists left out, with fewer than "
                       "two items that have it.")


def _check(label: str, runs: Sequence[Ranking], interactions: Interactions) -> None:
    users = distinct(interactions.test[0])
    for run in runs:
        if not np.array_equal(run.users, users):
            raise UserError(f"a stored ranking of {label} is not of the {len(users)} users of the "
                            "test part; delete its run folder and run the same command again")


def _group(
    subset: Subset,
    of_line: Mapping[str, Sequence[Ranking]],
    interactions: Interactions,
    metrics: Sequence[str],
) -> Group:
    by_label = {label: [subset_values(run, interactions.test, subset, metrics) for run in runs]
             for label, runs in of_line.items()}
    values = {metric: {label: Spread.of([run.values[metric].mean() for run in runs])
                       for label, runs in by_label.items()} for metric in metrics}
    size = len(next(iter(by_label.values()))[0].users)
    return Group(subset.name, subset.kind, size, values)


def _beyond(
    measures: Mapping[str, Callable[[Ranking], float]],
    of_line: Mapping[str, Sequence[Ranking]],
    interactions: Interactions,
) -> Group:
    values = {}
    for name, measure in measures.items():
        by_label = {label: [measure(run) for run in runs] for label, runs in of_line.items()}
        values[name] = {label: Spread.of(runs) for label, runs in by_label.items()}
    return Group("beyond accuracy", "beyond", len(distinct(interactions.test[0])), values)


def _measures(
    interactions: Interactions, k: int, head_share: float, features: Features
) -> dict[str, Callable[[Ranking], float]]:
    """Every measure beyond accuracy as a function of a ranking, by name."""
    n_items = interactions.n_items
    counts = np.bincount(interactions.train[1], minlength=n_items)
    tail = (counts > 0) & ~head_items(counts, head_share)

    def recommended(run: Ranking) -> np.ndarray:
        return beyond.recommendation_counts(run, n_items, k)

    measures = {
        f"coverage@{k}": lambda run: beyond.coverage(recommended(run)),
        f"gini@{k}": lambda run: beyond.gini(recommended(run)),
        f"average popularity@{k}":
            lambda run: beyond.list_popularity(run, interactions, k).mean(),
        f"novelty@{k}": lambda run: beyond.list_novelty(run, interactions, k).mean(),
        f"tail share@{k}": lambda run: beyond.list_share(run, tail, k).mean(),
    }
    for modality, of_items in features.items():
        measures[f"diversity@{k} ({modality})"] = lambda run, of=of_items: _mean_of_known(
            beyond.list_diversity(run, *of, k))
    return measures


def _mean_of_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return known.mean() if len(known) else np.nan
