"""The parts of a split that an evaluation needs, once it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recbole_ssr.data import statistics
from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError

_NAMES = ("training", "validation", "test")


def check_parts(asked: Sequence[bool], sizes: Sequence[int], split: str) -> None:
    """Raise UserError where a part of a split is empty that was asked for.

    Args:
        asked: whether there is to be a training, a validation and a test part.
        sizes: interactions of each.
        split: how messages name the split.
    """
    empty = [name for name, wanted, size in zip(_NAMES, asked, sizes) if wanted and not size]
    if empty:
        raise UserError(
            f"{split} leaves the {' and the '.join(empty)} part empty: the {sum(sizes):,} "
            "interactions are too few for a share of each user's. Give the part a larger share, "
            "keep only users with more interactions (user_inter_num_interval: '[3,inf)'), or set "
            "group_by to none."
        )


def leaks(train: np.ndarray, held_out: Mapping[str, np.ndarray], n_items: int) -> str | None:
    """Say which pairs of user and item are held out and in training too; None where no pair is.

    Shapes: train and the parts of held_out (2, E), users and items.
    """
    trained, shares = statistics.pairs(*train, n_items), []
    for name, part in held_out.items():
        pairs = distinct(statistics.pairs(*part, n_items))
        if shared := statistics.shared(trained, pairs):
            shares.append(f"{name} shares {shared:,} of its {len(pairs):,}")
    return (f"{' and '.join(shares)} pairs of user and item with training, which a model may know "
            "by heart") if shares else None


def needs_labels(mode: Mapping[str, str], label: str, columns: Sequence[str]) -> None:
    """Raise UserError where the mode labeled has no column of labels to read."""
    if "labeled" in mode.values() and label not in columns:
        raise UserError(
            f"eval_args has the mode labeled, but the interactions have no column {label!r} "
            f"(LABEL_FIELD): there are {', '.join(columns)}. Make labels of a loaded column, as "
            "in threshold: {rating: 3}, or load one."
        )
