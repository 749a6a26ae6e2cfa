r"""Ranking objectives by name, shared by all models.

An objective compares each interaction's positive item with others. With scores s (inner products,
or cosines), positive i, negative j, temperature tau, B interactions:

.. math::
    bce &: \tfrac{1}{2B} \sum -\log\sigma(s_i) - \log(1 - \sigma(s_j)) \\
    bpr &: \tfrac{1}{B} \sum -\log\sigma(s_i - s_j) \\
    softmax &: \tfrac{1}{B} \sum -s_i/\tau + \log\sum_{k} \exp(s_k / \tau)

`softmax` and `cosine_softmax` sum over every candidate item k, `sampled_softmax` over the negatives
of the whole batch, `in_batch_softmax` over its positives. The candidates are the items of training
(`train`) or all of them but padding (`all`). An item that training never shows can only be lifted
by its features; in the denominator it would be pushed down instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_ssr.distributed.sharing import own_part, sharing, summed
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.fixed_shapes import occurrences, rows_that_weigh
from recbole_ssr.nn.losses import bce_ranking
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.softmax import log_denominators, log_sums

CANDIDATES = ("train", "all")
_LARGEST_EXPONENT = 60.0  # exp(60) is far from float32's limit, and exp(-60) is nothing beside 1


@dataclass(frozen=True)
class Objective:
    """A ranking objective; see :func:`make_objective`.

    `all_items` tells that `item` must hold the rows of every item, `cosine` that the objective
    trains cosines instead of inner products.
    """

    name: str
    temperature: float
    candidates: str
    cosine: bool
    all_items: bool
    loss: Callable[..., Tensor]

    @property
    def needs_negatives(self) -> bool:
        """Whether the loss reads sampled negatives at all."""
        return self.name in _WITH_NEGATIVES

    @property
    def logit_scale(self) -> float:
        """What turns a score into a logit: 1 / temperature, and 1 for the pairwise objectives."""
        return 1 / self.temperature if self.name in (*_FULL, *_SAMPLED) else 1.0

    def __call__(
        self, user: Tensor, item: Tensor, batch: Batch, item_degree: Tensor,
        item_bias: Tensor | None = None, shown: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a mean over its interactions.

        Shapes: user (Bu, D), item (Bi, D) the rows of batch.users and batch.items; item_degree
        (I,) training interactions of every item; item_bias (Bi,) added to the items' logits;
        shown (I,) how often the items of a sampled denominator are drawn, up to a factor, see
        :func:`shown_to`; result ().
        """
        user, item = self.scored(user, item, item_bias)
        # With a bias, scores are not bounded by 1 as cosines are.
        plain = self if item_bias is None else replace(self, cosine=False)
        facts = (item_degree, shown) if self.name in _SAMPLED else (item_degree,)
        return self.loss(plain, user, item, batch, *facts)

    def scored(
        self, user: Tensor, item: Tensor, item_bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Return embeddings whose inner products are the scores that this objective trains.

        A bias becomes one more channel: :math:`\langle [u, 1], [i, \tau b] \rangle / \tau =
        \langle u, i \rangle / \tau + b`.

        Shapes: user (Bu, D), item (Bi, D), item_bias (Bi,); results (Bu, D or D + 1) and (Bi, ..).
        """
        if self.cosine:
            user, item = unit_rows(user), unit_rows(item)
        if item_bias is None:
            return user, item
        bias = (item_bias / self.logit_scale).unsqueeze(1)
        return (torch.cat([user, user.new_ones(len(user), 1)], dim=1),
                torch.cat([item, bias.to(item)], dim=1))

    def is_candidate(self, items: Tensor, item_degree: Tensor) -> Tensor:
        """Tell which items may stand in a denominator. Shapes: items (Bi,) ids; result (Bi,)."""
        if self.candidates == "all":
            return items > 0  # id 0 is padding
        return item_degree.index_select(0, items) > 0


def make_objective(
    name: str, temperature: float, candidates: str, sampled_cosine: bool
) -> Objective:
    """Build an objective.

    Args:
        name: one of OBJECTIVES.
        temperature: tau of the softmax objectives; the pairwise ones have none.
        candidates: items in the denominators of `softmax`, `cosine_softmax` and `sampled_softmax`,
            one of CANDIDATES.
        sampled_cosine: whether `sampled_softmax` and `in_batch_softmax` score by cosine.

    Raises ValueError for an unknown name or kind of candidates, and for a temperature that is not
    positive.

    >>> make_objective("sampled_softmax", 0.2, "train", sampled_cosine=True).cosine
    True
    """
    if name not in OBJECTIVES:
        raise ValueError(f"there is no objective {name!r}; choose from {', '.join(OBJECTIVES)}")
    if candidates not in CANDIDATES:
        raise ValueError(f"there are no candidates {candidates!r}; choose from "
                         f"{', '.join(CANDIDATES)}")
    if not temperature > 0:
        raise ValueError(f"the temperature of a softmax is {temperature}; make it positive")
    cosine = name == "cosine_softmax" or (sampled_cosine and name in _SAMPLED)
    return Objective(name, temperature, candidates, cosine, name in _FULL, OBJECTIVES[name])


def shown_to(objective: Objective, users: Tensor, items: Tensor, item_degree: Tensor,
             sampling_power: float, negatives_power: float) -> Tensor | None:
    r"""Return how often batches show an item where a sampled softmax takes its denominator from.

    Positives, of `in_batch_softmax`, are drawn in proportion to :math:`d_u^{-a}`, with a the
    `sampling_power`; negatives, of `sampled_softmax`, to :math:`d_i^b`, with b the
    `negatives_power`. None where positives occur by their degree, negatives uniformly.

    Shapes: users, items (E,) of the interactions; item_degree (I,); result (I,).
    """
    if objective.name == "in_batch_softmax" and sampling_power:
        weight = torch.bincount(users).double().pow(-sampling_power).index_select(0, users)
        shown = torch.bincount(items, weight, minlength=len(item_degree))
        return (shown * (len(items) / weight.sum())).to(item_degree)
    if objective.name == "sampled_softmax" and negatives_power:
        return item_degree.clamp(min=1).pow(negatives_power)
    return None


def _by_users(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let several processes share the distinct users of a batch, in a loss that is a mean over
    interactions whose candidates do not follow from its `batch`.
    """

    @wraps(loss)
    def of_own_users(objective: Objective, user: Tensor, item: Tensor, batch: Batch,
                     *facts: Tensor) -> Tensor:
        if not sharing():
            return loss(objective, user, item, batch, *facts)
        part = own_part(len(user))
        own = batch.of_users(part)
        if not len(own.user):
            return 0 * (user.sum() + item.sum())  # with gradients, which the others wait for
        share = len(own.user) / len(batch.user)
        return summed(share * loss(objective, user[part], item, own, *facts))

    return of_own_users


@_by_users
def _bce(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch,  # noqa: ARG001
    item_degree: Tensor,  # noqa: ARG001
) -> Tensor:
    anchor = user.index_select(0, batch.user)
    return bce_ranking(_scores(anchor, item, batch.positive), _scores(anchor, item, batch.negative))


@_by_users
def _bpr(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch,  # noqa: ARG001
    item_degree: Tensor,  # noqa: ARG001
) -> Tensor:
    """Rendle et al., BPR (UAI 2009)."""
    anchor = user.index_select(0, batch.user)
    difference = item.index_select(0, batch.negative) - item.index_select(0, batch.positive)
    return F.softplus((anchor * difference).sum(1)).mean()


def _softmax(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch, item_degree: Tensor
) -> Tensor:
    """A user that occurs c times in the batch has one denominator, weighted c."""
    if len(item) != len(item_degree):
        raise ValueError(f"{objective.name} needs the rows of all {len(item_degree)} items and got "
                         f"{len(item)}; make the batch with Batch.of_all_items")
    B, tau = len(batch.user), objective.temperature
    weight = occurrences(batch.user, len(user)).to(user) / B
    denominators = log_denominators(
        user, item, weight, objective.is_candidate(batch.items, item_degree), tau,
        bound=1.0 if objective.cosine else torch.inf,
    )
    anchor = user.index_select(0, batch.user)
    return denominators - _scores(anchor, item, batch.positive).mean() / tau


def _sampled_softmax(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch, item_degree: Tensor,
    shown: Tensor | None = None,
) -> Tensor:
    r"""Softmax over the positive and all sampled negatives of the batch.

    K negatives drawn uniformly from n candidates stand for all of them: each counts as n / K, so
    that the denominator is an unbiased estimate of the full one (Bengio and Senecal 2008). Drawn
    in proportion to `shown`, each counts by its inverse, the sum being the n items of training,
    which alone are drawn then. That a sampler rejects the positives of the negative's own user is
    neglected, and so is dynamic sampling, which takes the hardest of several.
    """
    drawn = occurrences(batch.negative, len(item)).to(item)
    drawn = drawn * objective.is_candidate(batch.items, item_degree)
    if shown is not None:
        drawn = drawn / shown.index_select(0, batch.items).to(item)
    if objective.candidates == "all" and shown is None:
        n = len(item_degree) - 1
    else:
        n = item_degree.count_nonzero()
    total = drawn.sum()
    weight = drawn * (n / torch.where(total > 0, total, 1.0))
    rows = rows_that_weigh(weight)
    return _softmax_of_few(objective, user, item, batch, rows, weight, torch.ones_like(weight))


def _in_batch_softmax(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch, item_degree: Tensor,
    shown: Tensor | None = None,
) -> Tensor:
    """Softmax over the positives of the batch, corrected for popularity.

    An item occurs in proportion to its degree, or to `shown`, whose log is taken off its scores,
    its own included (Yi et al., Sampling-bias-corrected neural modeling, RecSys 2019).
    """
    shown = (item_degree if shown is None else shown).index_select(0, batch.items).to(item)
    shown = torch.where(shown > 0, shown, 1.0)
    drawn = occurrences(batch.positive, len(item)).to(item)
    rows = rows_that_weigh(drawn)
    return _softmax_of_few(objective, user, item, batch, rows, drawn / shown, shown.reciprocal())


@_by_users
def _softmax_of_few(
    objective: Objective, user: Tensor, item: Tensor, batch: Batch, rows: Tensor, weight: Tensor,
    positive_weight: Tensor,
) -> Tensor:
    r"""Softmax of each interaction over some rows of `item`, each counted with a weight.

    An interaction's own positive counts `positive_weight` instead: it stands there as the positive
    alone, and its other occurrences (accidental hits) are gone. With the sum :math:`\exp a_u` of a
    user over the rows, which its interactions share, the denominator of one is

    .. math:: \exp a_u + (o_i - w_i) \exp(s_i / \tau)

    Shapes: rows (R,) the rows of item with a weight above 0; weight, positive_weight (Bi,);
        result ().
    """
    tau = objective.temperature
    a = log_sums(user, item.index_select(0, rows), weight.index_select(0, rows), tau)
    positive = _scores(user.index_select(0, batch.user), item, batch.positive) / tau
    a = a.index_select(0, batch.user)
    positive_weight, weight = (x.index_select(0, batch.positive) for x in (positive_weight, weight))
    # Where there is nothing but the positive itself a is -inf, and rounding may pass -1.
    a_safe = a.clamp(min=torch.finfo(a.dtype).min / 4)
    change = (positive_weight - weight) * (positive - a_safe).clamp(max=_LARGEST_EXPONENT).exp()
    denominator = torch.where(
        positive - a_safe < _LARGEST_EXPONENT,
        a_safe + torch.log1p(change.clamp(min=-1 + torch.finfo(a.dtype).eps)),
        positive + positive_weight.log(),  # the positive outweighs everything else beyond float32
    )
    return (denominator - positive - positive_weight.log()).mean()


def _scores(anchor: Tensor, item: Tensor, position: Tensor) -> Tensor:
    return (anchor * item.index_select(0, position)).sum(1)


OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "bce": _bce,
    "bpr": _bpr,
    "softmax": _softmax,
    "cosine_softmax": _softmax,
    "sampled_softmax": _sampled_softmax,
    "in_batch_softmax": _in_batch_softmax,
}
_FULL = ("softmax", "cosine_softmax")
_WITH_NEGATIVES = ("bce", "bpr", "sampled_softmax")
_SAMPLED = ("sampled_softmax", "in_batch_softmax")
