"""The record of why a run recommends an item to a user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """What one of the user's items adds to the score; `by_modality` where that can be told."""

    item: str
    title: str
    score: float
    by_modality: list[float] | None = None


@dataclass(frozen=True)
class SlotShares:
    """How a score is shared out among bands and modalities; each table adds up to it less the bias.

    Shapes: user (M, C), of the user's bands with the whole item; item (M, C), of the item's with
    the whole user; modalities (C, C), the user's modality in the row, the item's in the column.
    """

    bands: list[str]
    modalities: list[str]
    user: list[list[float]]
    item: list[list[float]]
    modalities_of_both: list[list[float]]


@dataclass(frozen=True)
class Explanation:
    """Why a user gets an item. `sources`, largest first, `own` and `bias` add up to `score`.

    `own` is what does not come over the user's items: the user's own embedding, or a constant.
    `bias` is the item's for every user alike, which follows its popularity.
    `rank` counts from 1 among the items that the user has not seen, one more than those with a
    larger score; `seen` tells whether the item is one that the user has. `slots` is of SSR alone.
    """

    run: str
    model: str
    dataset: str
    user: str
    item: str
    title: str
    score: float
    rank: int
    ranked: int
    seen: bool
    sources: list[Source]
    own: float
    bias: float = 0.0
    slots: SlotShares | None = None


def label(item: str, title: str) -> str:
    """Return what an item is called: its title where it has one, with its token."""
    return f"{title} ({item})" if title else item
