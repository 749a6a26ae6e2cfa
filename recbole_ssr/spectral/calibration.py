r"""Calibration: what bands, modalities and popularity are worth on items that were held out.

In training an interaction is part of the graph that predicts it, in evaluation never, so that
training overrates what tells neighbours from others, and how popular an item is. After it, with
everything else fixed, the slots :math:`A_{mc}` of a node (band m, modality c, as they enter its
embedding) and the bias b get gains, and a function f of an item's interactions, linear in their
logarithm between powers of two, is added to the bias:

.. math::
    agg = \sum_{mc} g_{mc} A_{mc}, \qquad
    s_{ui} = \alpha \langle agg_u, agg_i \rangle + \beta\, b_i + f(\log_2 d_i)

and these, some two dozen scalars, maximise the likelihood of the held-out items :math:`P_u` among
all that the user has not seen, under a normal prior on their logarithms and on the values of f at
its knots:

.. math::
    \min \sum_u \frac{1}{|P_u|} \sum_{i \in P_u} -\log \mathrm{softmax}(s_u)_i
        + \rho \left( \|\log g\|^2 + \log^2 \alpha + \log^2 \beta + \|f\|^2 \right)

A small validation part thus leaves the gains near 1 and f near 0. Only :math:`\beta / \alpha` and
:math:`f / \alpha` matter to a ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr.uncompiled import without_compiler

_ITERATIONS = 200  # at most; some 20 are the rule
_BLOCK = 512  # users whose scores exist at a time


class HeldOut(NamedTuple):
    """Held-out and seen items of B users, among n items.

    Shapes: positives (2, P) and seen (2, S), places of user and item; log_weight (n,) log of how
    many items each stands for in a denominator.
    """

    positives: Tensor
    seen: Tensor
    log_weight: Tensor


class Calibration(NamedTuple):
    """Gains that are to be multiplied into the slots and the bias of evaluation, and f.

    Shapes: gains (M, C); bias (); popularity (K,) values of f at its knots. `before` and `after`
    are what is minimised, the prior's part included, per user: without any of them and with these.
    """

    gains: Tensor
    bias: Tensor
    popularity: Tensor
    before: float
    after: float


def octaves(degree: Tensor, n_knots: int) -> Tensor:
    """Return what the values of f at the powers of two add up to: two weights that sum to 1, none
    without interactions. Shapes: degree (n,) below 2^(K - 1); result (n, K).
    """
    knots = torch.arange(n_knots, device=degree.device)
    place = degree.clamp(min=1).to(torch.float32).log2()
    weight = (1 - (place[:, None] - knots).abs()).clamp(min=0)
    return weight * (degree > 0)[:, None]


@torch.enable_grad()
def calibration(
    user: Tensor, item: Tensor, bias: Tensor, popularity: Tensor, held_out: HeldOut,
    logit_scale: float, cosine: bool, prior: float,
) -> Calibration:
    """Fit gains to held-out items; deterministic.

    Args:
        user: slots of the users, (M, C, B, d).
        item: slots of the items, (M, C, n, d).
        bias: (n,) logits that the items' scores are added to.
        popularity: (n, K) weights of the knots of f, see :func:`octaves`.
        logit_scale: what turns an inner product (of unit vectors if `cosine`) into a logit.
        prior: rho, in users.
    """
    M, C = user.shape[:2]
    log_gain = user.new_zeros(M, C).requires_grad_()
    log_scale = user.new_zeros(2).requires_grad_()  # alpha, beta
    knots = user.new_zeros(popularity.shape[1]).requires_grad_()  # f
    fitted = [log_gain, log_scale, knots]
    likelihood = _Likelihood(user.detach(), item.detach(), held_out, logit_scale, cosine)
    optimizer = without_compiler(lambda: torch.optim.LBFGS(
        fitted, max_iter=_ITERATIONS, tolerance_change=1e-6, line_search_fn="strong_wolfe"))

    def objective() -> Tensor:
        optimizer.zero_grad()
        alpha, beta = log_scale.exp()
        value = likelihood.backward(log_gain.exp(), alpha, beta * bias + popularity @ knots)
        penalty = prior / user.shape[2] * sum(x.square().sum() for x in fitted)
        penalty.backward()
        return value + penalty.detach()

    before = float(objective())
    optimizer.step(objective)
    after = float(objective())
    with torch.no_grad():
        alpha, beta = log_scale.exp()
        result = Calibration(log_gain.exp(), beta / alpha, knots / alpha, before, after)
    if after < before and all(x.isfinite().all() for x in result[:3]):
        return result
    return Calibration(torch.ones_like(log_gain), torch.ones_like(beta), torch.zeros_like(knots),
                       before, before)


class _Likelihood:
    """The negative log-likelihood per user, and its gradients, a block of users at a time."""

    def __init__(self, user: Tensor, item: Tensor, held_out: HeldOut, scale: float, cosine: bool):
        self.user, self.item = user, item
        self.scale, self.cosine, self.held_out = scale, cosine, held_out
        B = user.shape[2]
        per_user = torch.bincount(held_out.positives[0], minlength=B)
        self.share = 1 / (B * per_user[held_out.positives[0]]).to(user)

    def backward(self, gains: Tensor, alpha: Tensor, bias: Tensor) -> Tensor:
        """Add the gradients of gains (M, C), alpha () and bias (n,); return the value."""
        embedded = [self._embedding(gains, slots) for slots in (self.user, self.item)]
        sources = [*embedded, alpha, bias]
        leaves = [x.detach().requires_grad_() for x in sources]
        total = leaves[0].new_zeros(())
        for start in range(0, len(leaves[0]), _BLOCK):
            value = self._of_block(*leaves, start)
            value.backward()
            total += value.detach()
        torch.autograd.backward(sources, [x.grad for x in leaves])
        return total

    def _embedding(self, gains: Tensor, slots: Tensor) -> Tensor:
        x = torch.einsum("mc,mcbd->bd", gains, slots)
        return F.normalize(x, dim=1) if self.cosine else x

    def _of_block(self, u: Tensor, i: Tensor, alpha: Tensor, bias: Tensor, start: int) -> Tensor:
        (rows, items), share = self._within(self.held_out.positives, start, self.share)
        seen = self._within(self.held_out.seen, start)[0]
        scores = alpha * self.scale * (u[start:start + _BLOCK] @ i.T) + bias
        others = (scores + self.held_out.log_weight).index_put(
            tuple(seen), scores.new_tensor(-torch.inf))
        denominators = others.logsumexp(1)
        return (share * (denominators[rows] - scores[rows, items])).sum()

    def _within(self, pairs: Tensor, start: int, value: Tensor | None = None):
        """Return the pairs of a block, and their values. Shapes: pairs (2, P), value (P,)."""
        of_block = (pairs[0] >= start) & (pairs[0] < start + _BLOCK)
        pairs = pairs[:, of_block]
        pairs = torch.stack([pairs[0] - start, pairs[1]])
        return pairs, value[of_block] if value is not None else None
