r"""Calibration: what bands, modalities and bias are worth on items that were held out.

In training an interaction is part of the graph that predicts it, in evaluation never, so that
training overrates what tells neighbours from others. After it, with everything else fixed, the
slots :math:`A_{mc}` of a node (band m, modality c, as they enter its embedding) and the bias b get
gains,

.. math::
    agg = \sum_{mc} g_{mc} A_{mc}, \qquad
    s_{ui} = \alpha \langle agg_u, agg_i \rangle + \beta\, b_i

and these, a dozen scalars, maximise the likelihood of the held-out items :math:`P_u` among all that
the user has not seen, under a normal prior on their logarithms:

.. math::
    \min \sum_u \frac{1}{|P_u|} \sum_{i \in P_u} -\log \mathrm{softmax}(s_u)_i
        + \rho \left( \|\log g\|^2 + \log^2 \alpha + \log^2 \beta \right)

A small validation part thus leaves them near 1. Only :math:`\beta / \alpha` matters to a ranking.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr.uncompiled import without_compiler

_ITERATIONS = 30
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
    """Gains that are to be multiplied into the slots and the bias of evaluation.

    Shapes: gains (M, C); bias (). `before` and `after` are the likelihood's negative logarithm per
    user, with all gains at 1 and with these.
    """

    gains: Tensor
    bias: Tensor
    before: float
    after: float


@torch.enable_grad()
def calibration(
    user: Tensor, item: Tensor, bias: Tensor, held_out: HeldOut, logit_scale: float, cosine: bool,
    prior: float,
) -> Calibration:
    """Fit gains to held-out items; deterministic.

    Args:
        user: slots of the users, (M, C, B, d).
        item: slots of the items, (M, C, n, d).
        bias: (n,) logits that the items' scores are added to.
        logit_scale: what turns an inner product (of unit vectors if `cosine`) into a logit.
        prior: rho, in users.
    """
    M, C = user.shape[:2]
    log_gain = user.new_zeros(M, C).requires_grad_()
    log_scale = user.new_zeros(2).requires_grad_()  # alpha, beta
    likelihood = _Likelihood(user.detach(), item.detach(), bias.detach(), held_out, logit_scale,
                             cosine)
    optimizer = without_compiler(lambda: torch.optim.LBFGS(
        [log_gain, log_scale], max_iter=_ITERATIONS, tolerance_change=1e-6,
        line_search_fn="strong_wolfe"))

    def objective() -> Tensor:
        optimizer.zero_grad()
        value = likelihood.backward(log_gain.exp(), log_scale.exp())
        penalty = prior / user.shape[2] * (log_gain.square().sum() + log_scale.square().sum())
        penalty.backward()
        return value + penalty.detach()

    before = float(objective())
    optimizer.step(objective)
    after = float(objective())
    with torch.no_grad():
        alpha, beta = log_scale.exp()
        gains, scale = log_gain.exp(), beta / alpha
    if not (after < before and gains.isfinite().all() and scale.isfinite()):
        gains, scale, after = torch.ones_like(gains), torch.ones_like(scale), before
    return Calibration(gains, scale, before, after)


class _Likelihood:
    """The negative log-likelihood per user, and its gradients, a block of users at a time."""

    def __init__(self, user: Tensor, item: Tensor, bias: Tensor, held_out: HeldOut, scale: float,
                 cosine: bool):
        self.user, self.item, self.bias = user, item, bias
        self.scale, self.cosine, self.held_out = scale, cosine, held_out
        B = user.shape[2]
        per_user = torch.bincount(held_out.positives[0], minlength=B)
        self.share = 1 / (B * per_user[held_out.positives[0]]).to(user)

    def backward(self, gains: Tensor, scales: Tensor) -> Tensor:
        """Add the gradients of gains (M, C) and scales (2,); return the value."""
        embedded = [self._embedding(gains, slots) for slots in (self.user, self.item)]
        u, i, s = (x.detach().requires_grad_() for x in (*embedded, scales))
        total = u.new_zeros(())
        for start in range(0, len(u), _BLOCK):
            value = self._of_block(u, i, s, start)
            value.backward()
            total += value.detach()
        torch.autograd.backward([*embedded, scales], [u.grad, i.grad, s.grad])
        return total

    def _embedding(self, gains: Tensor, slots: Tensor) -> Tensor:
        x = torch.einsum("mc,mcbd->bd", gains, slots)
        return F.normalize(x, dim=1) if self.cosine else x

    def _of_block(self, u: Tensor, i: Tensor, s: Tensor, start: int) -> Tensor:
        (rows, items), share = self._within(self.held_out.positives, start, self.share)
        seen = self._within(self.held_out.seen, start)[0]
        scores = s[0] * self.scale * (u[start:start + _BLOCK] @ i.T) + s[1] * self.bias
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
