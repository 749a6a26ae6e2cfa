r"""Why a user gets an item: the score as a sum over the user's items, bands and modalities.

All a user's embedding holds comes from its own rows of the tables or over one of its items, by
whatever path the propagation takes behind that item:

.. math:: e_u = e_u^{own} + \sum_{j \in N(u)} \hat R_{uj}\, [p(\hat A)\, x]_j,
    \qquad s_{ui} = \langle e_u^{own}, e_i \rangle
    + \sum_{j \in N(u)} \hat R_{uj}\, \langle [p(\hat A)\, x]_j, e_i \rangle

Each term is the embedding of a receiver with that one item, at the weight which the edge has for
the user (:mod:`recbole_ssr.model.receivers`). SSR's gate, coverage and norms are not linear: they
are held at the user's values, as in Gradient x Input, so that the terms still add up exactly.

Shapes: n items of the user, M bands, C modalities, d channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.graph.item_products import WeightedSum, csr_rows, deviation_of
from recbole_ssr.model.base import MultimodalRecommender
from recbole_ssr.model.closed_form import ClosedForm
from recbole_ssr.model.receivers import NOTHING, with_receivers
from recbole_ssr.model.ssr import SSR
from recbole_ssr.model.ssr_reference import ReferenceSSR

_ITEMS_AT_ONCE = 256  # of a closed form, whose rows are dense over all items


class Parts(NamedTuple):
    """A score in parts, which add up to it: `scores`, `own`, and the item's `bias`.

    Shapes: items (n,) ids; scores (n,); by_modality (n, C) or None; own, bias ().
    """

    items: Tensor
    scores: Tensor
    own: Tensor
    by_modality: Tensor | None = None
    bias: float = 0.0


class Slots(NamedTuple):
    """A score, but the item's bias, by slots.

    Shapes: user, item (M, C); both (C, C), user's modality first.
    """

    user: Tensor
    item: Tensor
    both: Tensor


@torch.no_grad()
def parts_of(experiment: Experiment, user: int, item: int) -> Parts:
    """Return what each of a user's items, and the user's own embedding, add to a score.

    Raises UserError, which names the model, where a score is no such sum.
    """
    model = experiment.model
    if isinstance(model, ClosedForm):
        return _parts_of_closed_form(model, user, item)
    if isinstance(model, SSR):
        return _parts_of_ssr(model, user, item)
    if isinstance(model, MultimodalRecommender) and model.affine_users and model.user_tables:
        return _parts_of_affine(model, user, item)
    name = experiment.config["model"]
    if isinstance(model, ReferenceSSR):
        name += f" with profile {experiment.config['profile']}"
    raise UserError(
        f"the scores of {name} are no sums over a user's items; explain "
        "works for SSR by default, for models of linear propagation (FastLightGCN, "
        "FeatureLightGCN, FREEDOM, PGL, MENTOR, LATTICE, BM3, SLMRec, FastSGL) and for closed forms"
    )


@torch.no_grad()
def slots_of(model: SSR, user: int, item: int) -> Slots:
    """Return a score by band and modality, of the user's side, of the item's, and of both."""
    device = model.graph["R"].device
    u, i = (side.parts()[:, :, 0] for side in model.linear_fusion(
        torch.tensor([user], device=device), torch.tensor([item], device=device)))
    return Slots((u * i.sum((0, 1))).sum(2), (i * u.sum((0, 1))).sum(2), u.sum(0) @ i.sum(0).T)


def _parts_of_affine(model: MultimodalRecommender, user: int, item: int) -> Parts:
    items, rows = _one_item_each(model, user)
    source = torch.full((len(items) + 2,), NOTHING, device=items.device)
    source[-2] = user
    embeddings = with_receivers(model, rows, source).final_embeddings()
    values = embeddings.user[-len(source):].double() @ embeddings.item[item].double()
    constant = values[-1]
    return Parts(items, values[:-2] - constant, values[-2])


def _parts_of_ssr(model: SSR, user: int, item: int) -> Parts:
    items, rows = _one_item_each(model, user)
    source = torch.full((len(items) + 2,), NOTHING, device=items.device)
    source[-2] = user
    known = model.n_users
    twin = with_receivers(model, rows, source)
    twin.propagation = _CoverageOf(twin.propagation, user, known)
    for feature in twin.features:
        feature.drop_bands()
    device = items.device
    receivers = torch.arange(known, known + len(items) + 1, device=device)
    slots = twin.spectra(receivers, torch.tensor([item], device=device))[0].slots.double()
    u, i = model.linear_fusion(torch.tensor([user], device=device),
                               torch.tensor([item], device=device))
    weights = u.coefficients.double() * i.parts().sum((0, 1)).double()
    values = (slots * weights).sum(3)
    by_modality = values.sum(0).T
    return Parts(items, by_modality[:-1].sum(1), by_modality[-1].sum(), by_modality[:-1],
                 model.score_bias()[item].item())


class _CoverageOf:
    """A propagation whose receivers have the coverage of one user, whose parts they are."""

    def __init__(self, propagation, user: int, known: int):
        self._propagation, self._user, self._known = propagation, user, known

    def __call__(self, *x: Tensor):
        return self._propagation(*x)

    def __getattr__(self, name: str):
        return getattr(self._propagation, name)

    def coverage(self, present: Tensor, with_users: bool):
        user, item = self._propagation.coverage(present, with_users)
        user = user.clone()
        user[self._known:] = user[self._user]
        return user, item


def _one_item_each(model: MultimodalRecommender, user: int) -> tuple[Tensor, Tensor]:
    """Return a user's items, and rows with one of them each, at the edge's weight; then two empty.

    Shapes: items (n,); rows (n + 2, I) CSR.
    """
    R = model.graph["R"]
    start, end = R.crow_indices()[user:user + 2].tolist()
    items, values, n = R.col_indices()[start:end], R.values()[start:end], end - start
    crow = torch.arange(n + 3, dtype=items.dtype, device=items.device).clamp(max=n)
    rows = torch.sparse_csr_tensor(crow, items, values, (n + 2, model.n_items),
                                   check_invariants=False)
    return items.long(), rows


def _parts_of_closed_form(model: ClosedForm, user: int, item: int) -> Parts:
    R = model.history["R"]
    row = csr_rows(R, torch.tensor([user], device=R.device))
    items = row.col_indices().long()
    n = len(items)
    each = torch.sparse_csr_tensor(
        torch.arange(n + 1, dtype=torch.int32, device=R.device), row.col_indices(), row.values(),
        (n, R.shape[1]), check_invariants=False)
    blocks = [_shares(model.weights, csr_rows(each, block), row, item)
             for block in torch.arange(n, device=R.device).split(_ITEMS_AT_ONCE)]
    scores = torch.cat(blocks) if blocks else row.values().new_zeros(0).double()
    return Parts(items, scores, scores.new_zeros(()))


def _shares(weights, each: Tensor, row: Tensor, item: int) -> Tensor:
    """Return what single items add to the score of `item`. Shapes: each (n, I), row (1, I) CSR."""
    if not isinstance(weights, WeightedSum):
        return weights(each)[:, item].double()
    total = 0
    for part, weight in zip(weights.parts, weights.weights):
        scores = part(each).double()
        if weights.standardise:  # the mean over items is linear, the deviation is held
            known = slice(weights.n_known)
            deviation = deviation_of(part(row)[:, known]).double()[0]
            value = (scores[:, item] - scores[:, known].mean(1)) / deviation
        else:
            value = scores[:, item]
        total = total + weight * value
    return total
