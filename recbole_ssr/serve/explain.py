"""Why a run recommends an item to a user, in plain values."""

from __future__ import annotations

import numpy as np
import torch

from recbole_ssr.errors import UserError
from recbole_ssr.model.ssr import SSR
from recbole_ssr.report.diagnosis.record import band_names
from recbole_ssr.report.explanation.record import Explanation, SlotShares, Source
from recbole_ssr.serve.attribution import parts_of, slots_of


def explain(recommender, user: str, item: str) -> Explanation:
    """Return why a user gets an item, of a :class:`recbole_ssr.serve.recommender.Recommender`.

    Raises UserError for an unknown user or item, for a model whose scores are no sums over a
    user's items, and for a user without items whom it knows by nothing else.
    """
    catalogue, experiment = recommender.catalogue, recommender.experiment
    u, i = catalogue.user_id(user), catalogue.item_id(item)
    if not recommender.knows(np.array([u]))[0]:
        raise UserError(f"nothing is known of the user {str(user)!r}, who has no items in "
                        f"training: {experiment.config['model']} ranks no items; name another")
    if i >= catalogue.first_new:
        experiment = recommender.new.experiment
    parts = parts_of(experiment, u, i)
    rank, ranked, seen, score = _place(recommender, u, i)
    items = parts.items.cpu().numpy()
    tokens, titles = catalogue.items[items], catalogue.table.titles(items)
    by_modality = [None] * len(items) if parts.by_modality is None else parts.by_modality.tolist()
    sources = [Source(str(token), title, value, split) for token, title, value, split in
               zip(tokens, titles, parts.scores.tolist(), by_modality)]
    slots = None
    if isinstance(experiment.model, SSR):
        parts_by_slot = slots_of(experiment.model, u, i)
        slots = SlotShares(band_names(len(parts_by_slot.item)), list(experiment.model.modalities),
                           *(x.double().tolist() for x in parts_by_slot))
    return Explanation(
        run=str(recommender.run), model=experiment.config["model"],
        dataset=experiment.config["dataset"], user=str(user), item=str(item),
        title=catalogue.table.titles(np.array([i]))[0], score=score, rank=rank, ranked=ranked,
        seen=seen, sources=sorted(sources, key=lambda source: -source.score),
        own=parts.own.item(), bias=parts.bias, slots=slots,
    )


def _place(recommender, user: int, item: int) -> tuple[int, int, bool, float]:
    """Return rank, number of ranked items, whether the user has seen the item, and its score."""
    scores = recommender.scores.block(torch.tensor([user]))[0].cpu().numpy()
    row = recommender.catalogue.seen[user]
    mine = scores[item]
    others = np.ones(len(scores), dtype=bool)
    others[0] = False
    others[row.indices] = False
    seen = not others[item]
    others[item] = False
    before = (scores > mine) | ((scores == mine) & (np.arange(len(scores)) < item))  # as ranked
    return (int(before[others].sum()) + 1, int(others.sum()) + 1, bool(seen),
            float(mine))
