"""The best items of many users, a block at a time.

Shapes: U users, I items, B users of a block, J items that are ranked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_ssr.errors import UserError
from recbole_ssr.serve.catalogue import Catalogue, named
from recbole_ssr.serve.scores import Scores

logger = logging.getLogger("recbole_ssr")

SCORES_AT_ONCE = 2**24  # of a block of users: 64 MiB


class Audience(NamedTuple):
    """Who is recommended to.

    Shapes: tokens (n,); rows (n,) of `scores` and `seen`; seen (rows, I) CSR, what to leave out;
    known (n,) bool, whether anything is known of the user, True of all.
    """

    tokens: np.ndarray
    rows: np.ndarray
    scores: Scores
    seen: sp.csr_matrix
    known: np.ndarray | bool = True


def ranked(audience: Audience, catalogue: Catalogue, k: int, items: Tensor | None = None,
           keep_seen: bool = False) -> Iterator[pd.DataFrame]:
    """Yield the k best items of some users at a time: columns user, item, rank, score.

    Users nothing is known of get the most popular items, without a score; those who have seen all
    items get no row, and are named in a warning. `items` are the ids to rank, ascending, None for
    all; equal scores rank by ascending id. Raises UserError for scores that are no numbers.
    """
    every = np.arange(len(catalogue.items)) if items is None else items.numpy()
    known = np.broadcast_to(audience.known, audience.tokens.shape)
    step = max(1, SCORES_AT_ONCE // len(every))
    for start in range(0, len(audience.tokens), step):
        part = slice(start, start + step)
        block = audience._replace(tokens=audience.tokens[part], rows=audience.rows[part],
                                  known=known[part])
        yield _block(block, catalogue, k, items, every, keep_seen)


def _block(audience: Audience, catalogue: Catalogue, k: int, items: Tensor | None,
           every: np.ndarray, keep_seen: bool) -> pd.DataFrame:
    known, rows = audience.known, audience.rows
    chosen = np.zeros((len(known), min(k, len(every))), dtype=np.int64)
    values = np.full(chosen.shape, -np.inf, dtype=np.float32)

    def rank(these: np.ndarray, scores: Tensor) -> None:
        if every[0] == 0:  # padding
            scores[:, 0] = -torch.inf
        if not keep_seen:
            _leave_out(scores, audience.seen[rows[these]], every)
        best, places = best_of(scores, chosen.shape[1])
        values[these], chosen[these] = best.cpu().numpy(), every[places.cpu().numpy()]

    if known.any():
        rank(known, audience.scores.block(torch.from_numpy(rows[known]), items))
    if not known.all():
        popularity = torch.from_numpy(catalogue.popularity[every]).float()
        rank(~known, popularity.repeat(int((~known).sum()), 1))
    if np.isnan(values).any():  # which would rank first
        raise UserError("some scores are no numbers: the run's model has diverged; train it "
                        "again with a smaller learning_rate")
    kept = values > -np.inf
    values[~known] = np.nan
    finished = audience.tokens[~kept.any(1)]
    if len(finished):
        logger.warning("nothing is left to recommend to %s, who have all of these items; with "
                       "--keep_seen (keep_seen=True) they are ranked too", named(finished))
    return pd.DataFrame({
        "user": np.repeat(audience.tokens, chosen.shape[1])[kept.ravel()],
        "item": catalogue.items[chosen[kept]],
        "rank": np.broadcast_to(np.arange(1, chosen.shape[1] + 1), chosen.shape)[kept],
        "score": values[kept],
    })


def best_of(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest scores of every row and their places, equal ones by ascending place.

    Shapes: scores (B, J); results (B, k), where k is at most J.

    >>> best_of(torch.tensor([[0., 2., 2., 2., 3.]]), 3)
    (tensor([[3., 2., 2.]]), tensor([[4, 1, 2]]))
    """
    # topk takes any of equal scores, in any order; one more tells which rows it cuts among them.
    values, places = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    beyond = values[:, k:]
    cut = ((beyond == values[:, k - 1:k]) & (beyond > -torch.inf)).any(1)
    places = places[:, :k].sort(dim=1).values
    values, order = scores.gather(1, places).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    if cut.any():  # sorting whole rows takes longer than the rest
        values[cut], places[cut] = (x[:, :k] for x in scores[cut].sort(
            dim=1, descending=True, stable=True))
    return values, places


def _leave_out(scores: Tensor, seen: sp.csr_matrix, every: np.ndarray) -> None:
    """Rank what users have seen last, in place. Shapes: scores (B, J); seen (B, I); every (J,)."""
    place = np.full(seen.shape[1], -1)
    place[every] = np.arange(len(every))
    row, column = seen.nonzero()
    column = place[column]
    inside = column >= 0
    scores[torch.from_numpy(row[inside]), torch.from_numpy(column[inside])] = -torch.inf
