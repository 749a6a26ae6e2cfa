"""What a comparison measured: every table, file, plot and report is made from it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from recbole_ssr.result import RunResult, larger_is_better

COSTS = ("best_epoch", "epochs", "seconds_per_epoch", "seconds_per_evaluation", "seconds",
         "peak_mib", "parameters")


class Spread(NamedTuple):
    """Mean over seeds, sample standard deviation (nan for one seed) and number of seeds."""

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of the values; nan of none, and where one is nan."""
        values = [float(value) for value in values]
        if not values or any(map(math.isnan, values)):
            return cls(math.nan, math.nan, len(values))
        std = statistics.stdev(values) if len(values) > 1 else math.nan
        return cls(statistics.fmean(values), std, len(values))


class Failure(NamedTuple):
    """A run that did not finish: its seed, why in one line, and its folder with the whole log."""

    seed: int
    reason: str
    folder: str


@dataclass(frozen=True)
class Line:
    """A model with its settings, over seeds.

    Attributes:
        label: what tables call it, unique in a comparison.
        model: the class.
        settings: what differs from the model's defaults and from the comparison's own settings.
        results: finished runs, by seed.
        failures: runs that did not finish.
        trials: settings tried in tuning before this one was selected on validation; None untuned.
        pruned: how many of these were stopped before their training ended.
    """

    label: str
    model: str
    settings: dict
    results: tuple[RunResult, ...]
    failures: tuple[Failure, ...] = ()
    trials: int | None = None
    pruned: int = 0


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two lines by user, each user's value being the mean over seeds.

    Attributes:
        metric: for instance "recall@20", on test.
        better, worse: labels, by the mean; nothing is said about significance.
        mean: mean over users of better minus worse; low and high: its 95 % bootstrap interval.
        effect: mean divided by the standard deviation of the users' differences (Cohen's d_z).
        n_users: users compared.
        p: two-sided p-values by test: randomisation, t, wilcoxon.
        p_holm: of the randomisation test, Holm-corrected over the table; None before that.
    """

    metric: str
    better: str
    worse: str
    mean: float
    low: float
    high: float
    effect: float
    n_users: int
    p: dict[str, float]
    p_holm: float | None = None

    def significant(self, level: float = 0.05) -> bool:
        """Tell whether the corrected p-value is below `level`; False without a correction."""
        return self.p_holm is not None and self.p_holm < level


@dataclass(frozen=True)
class Group:
    """A metric restricted to some users or items.

    Attributes:
        name: for instance "users with 6-10 interactions", "cold items".
        kind: users, cold, popularity or beyond (beyond accuracy: one row per measure).
        size: users that the metric averages over.
        values: metric -> label -> Spread.
    """

    name: str
    kind: str
    size: int
    values: dict[str, dict[str, Spread]]


@dataclass(frozen=True)
class Curve:
    """A metric of every line over levels of a disturbance or of training data.

    Attributes:
        name: for instance "image noise", "interactions used in training".
        where: training and inference, training, or inference.
        levels: ascending, shared by all lines.
        metric: on test.
        values: label -> one Spread per level.
    """

    name: str
    where: str
    levels: tuple[float, ...]
    metric: str
    values: dict[str, tuple[Spread, ...]]


class Published(NamedTuple):
    """A figure that others report: never measured here, and set apart wherever it is shown.

    `values` are metrics as "recall@20"; `note` says by whose protocol, where it is known.
    """

    model: str
    values: dict[str, float]
    source: str
    note: str


@dataclass(frozen=True)
class Comparison:
    """All of a comparison.

    `protocol` is that of all runs; `settings` were given to all lines, but for the dataset, names
    of columns and what changes no result; `notes` are what readers must know.
    """

    dataset: str
    protocol: dict
    lines: tuple[Line, ...]
    differences: tuple[Difference, ...] = ()
    groups: tuple[Group, ...] = ()
    curves: tuple[Curve, ...] = ()
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = field(default=("recall@10", "recall@20", "ndcg@10", "ndcg@20"))
    settings: dict = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One record per line, part, metric and seed: the columns of these names, model and value.

        The parts are valid, test and cost, whose metrics are COSTS; an unknown cost is nan.
        """
        records = []
        for line in self.lines:
            parts = {part: list(dict.fromkeys(m for r in line.results for m in getattr(r, part)))
                     for part in ("valid", "test")}
            records += [(line.label, line.model, part, metric, r.seed,
                         getattr(r, metric) if part == "cost" else getattr(r, part)[metric])
                        for part, metrics in {**parts, "cost": COSTS}.items()
                        for metric in metrics for r in line.results]
        frame = pd.DataFrame(records, columns=["line", "model", "part", "metric", "seed", "value"])
        return frame.astype({"value": float})

    @cached_property
    def _spreads(self) -> dict[tuple[str, str, str], Spread]:
        by_metric = self.frame.groupby(["line", "part", "metric"], sort=False)["value"]
        return {key: Spread.of(values.dropna() if key[1] == "cost" else values)
                for key, values in by_metric}

    def spread(self, label: str, metric: str, part: str = "test") -> Spread:
        """Return a metric such as "recall@20" of a line over its seeds, of a part of the frame."""
        return self._spreads.get((label, part, metric), Spread.of([]))

    def line(self, label: str) -> Line:
        """Return the line of that label."""
        return next(line for line in self.lines if line.label == label)

    def ranked(self, metric: str) -> list[Line]:
        """Return the lines with results, the best first."""
        done = [line for line in self.lines if line.results]
        return sorted(done, key=lambda line: self.spread(line.label, metric).mean,
                      reverse=larger_is_better(metric))

    def marks(self, metric: str) -> tuple[str | None, str | None]:
        """Return the labels to mark best and second best: only where the difference is significant.

        Each must differ significantly from every line below it: the next one by the mean need not
        be the one that is hardest to tell from it.
        """
        order = [line.label for line in self.ranked(metric)]
        leads_over = {(d.better, d.worse) for d in self.differences
                      if d.metric == metric and d.significant()}

        def leads(place: int) -> str | None:
            pairs = [(order[place], other) for other in order[place + 1:]]
            return order[place] if pairs and leads_over.issuperset(pairs) else None

        return leads(0), leads(1)
