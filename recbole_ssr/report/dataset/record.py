"""The record of what a dataset is like: one json file."""

from __future__ import annotations

from dataclasses import dataclass

FILE = "dataset.json"


@dataclass(frozen=True)
class Degrees:
    """Interactions per user or per item, of all parts together.

    Shapes: values, nodes: the distinct degrees, ascending, and how many have each; histogram:
    (lowest, highest, nodes) of intervals between powers of two. `gini` is 0 if all degrees are
    equal, towards 1 if few have most. `none` counts those without any interaction.
    """

    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    mean: float
    gini: float | None
    none: int
    values: list[int]
    nodes: list[int]
    histogram: list[list[int]]


@dataclass(frozen=True)
class Part:
    """One part of the split.

    `repeats`: interactions whose pair of user and item came before in the part. `cold_users` and
    `cold_items`: those of the part that training lacks; `of_cold_users`, `of_cold_items` and
    `of_either`: the interactions with them. `older`: the share of interactions older than the same
    user's newest one in training; None without times. All of these are 0 or None for the training
    part itself, repeats aside.
    """

    name: str
    interactions: int
    users: int
    items: int
    repeats: int
    cold_users: int = 0
    cold_items: int = 0
    of_cold_users: int = 0
    of_cold_items: int = 0
    of_either: int = 0
    older: float | None = None


@dataclass(frozen=True)
class Modality:
    """The stored vectors of one modality.

    `rows` are those of the file, `unused_rows` belong to no item of the dataset. `coverage` is the
    share of the dataset's items with a row, `coverage_by_interactions` of interactions with such
    items. `norms` has the Euclidean norms of all rows as stored, before feature_scaling.
    """

    name: str
    dim: int
    dtype: str
    rows: int
    unused_rows: int
    items: int
    coverage: float
    coverage_by_interactions: float
    norms: dict[str, float]
    zero_rows: int
    repeated_rows: int


@dataclass(frozen=True)
class Check:
    """One thing to know before training. `status` is ok, note or problem."""

    name: str
    status: str
    sentence: str


@dataclass(frozen=True)
class DatasetReport:
    """Everything that `recbole-ssr data` reports.

    `density` is interactions per pair of user and item. `overlaps` counts the pairs of user and
    item that two parts share. `idle_featured_items` have features but no interaction.
    """

    dataset: str
    folder: str
    split: str
    split_fingerprint: str
    users: int
    items: int
    interactions: int
    density: float
    user_degrees: Degrees
    item_degrees: Degrees
    parts: list[Part]
    overlaps: dict[str, int]
    feature_fill: str | None
    feature_scaling: str | None
    modalities: list[Modality]
    idle_featured_items: int
    checks: list[Check]
