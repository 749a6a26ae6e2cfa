"""Log-sum-exp of scores: over all items without the matrix of scores, over a few at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recbole_ssr.distributed.sharing import own_part, sharing, summed
from recbole_ssr.nn.fixed_shapes import shapes_are_fixed

# Users whose scores exist at once: 128 to 512 are within a fifth of each other in speed, on a CPU.
_BLOCK = 256
# exp(-80) is still a normal float32. Denormal results make exp ten times slower on the CPU.
_LOWEST_EXPONENT = -80.0


def log_denominators(
    user: Tensor, item: Tensor, weight: Tensor, candidates: Tensor, temperature: float,
    bound: float = torch.inf, block: int = _BLOCK,
) -> Tensor:
    r"""Weighted log-sum-exp of every user's scores over the candidate items.

    .. math:: \sum_u w_u \log \sum_{j \in candidates} \exp(\langle u, j \rangle / \tau)

    No inner product exceeds `bound` (1 for unit vectors). Memory is linear in users and items:
    scores exist for `block` users at a time. Several processes share the users.

    Shapes: user (U, D); item (I, D); weight (U,); candidates (I,) bool; result ().
    """
    if sharing():
        own = own_part(len(user))
        user, weight = user[own], weight[own]
    return summed(
        _LogDenominators.apply(user, item, weight, candidates, temperature, bound, block))


class _LogDenominators(Function):
    r"""The gradient is taken along with the value: one exp and three GEMMs a block, in place.

    With E = exp(scores - shift) and Z its row sums, the gradients are (w / Z tau) E item and
    E' (w / Z tau) user. Items that are no candidates have an offset of -inf, so their column of E
    is exactly zero.
    """

    @staticmethod
    def forward(ctx, user, item, weight, candidates, temperature, bound, block):
        # Without a bound close enough to every score, the shift is the maximum of each row.
        by_row = -2 * bound / temperature < _LOWEST_EXPONENT
        shift = 0.0 if by_row else bound / temperature
        offset = item.new_full((len(item),), -shift).masked_fill_(~candidates, -torch.inf)
        total, to_user, to_item = user.new_zeros(()), torch.empty_like(user), torch.zeros_like(item)
        for start in range(0, len(user), block):
            rows = slice(start, start + block)
            anchors, w = user[rows], weight[rows]
            E = torch.addmm(offset, anchors, item.T, alpha=1 / temperature)
            if by_row:
                shift = E.amax(1)
                F.threshold_(E.sub_(shift[:, None]), _LOWEST_EXPONENT, -torch.inf)
            Z = E.exp_().sum(1)
            total += (w * (Z.log() + shift)).sum()
            share = (w / Z)[:, None] / temperature
            to_user[rows] = share * (E @ item)
            to_item.addmm_(E.T, share * anchors)
        ctx.save_for_backward(to_user, to_item)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        to_user, to_item = ctx.saved_tensors
        return grad * to_user, grad * to_item, None, None, None, None, None


def log_sums(user: Tensor, item: Tensor, weight: Tensor, temperature: float) -> Tensor:
    r"""Log of every user's weighted sum of exponentials over a few items.

    .. math:: a_u = \log \sum_j w_j \exp(\langle u, j \rangle / \tau)

    Shapes: user (U, D); item (I, D); weight (I,) at least 0; result (U,).

    >>> log_sums(torch.zeros(1, 2), torch.ones(3, 2), torch.ones(3), temperature=1.0)  # log 3
    tensor([1.0986])
    """
    return _LogSums.apply(user, item, weight, temperature)


class _LogSums(Function):
    """One matrix of scores, overwritten by its exponentials; each row's sum divides what is
    computed from it."""

    @staticmethod
    def forward(ctx, user, item, weight, temperature):
        offset = weight.log()
        shift = _common_shift(user, item, offset, temperature)
        if shift is None:
            E = torch.addmm(offset, user, item.T, alpha=1 / temperature)
            # A row without any candidate has the sum 0; its shares are 0 as well. No row has any
            # where the users of a batch have all items of training.
            shift = E.amax(1) if len(item) else E.new_full((len(E),), -torch.inf)
            shift = shift.clamp(min=torch.finfo(E.dtype).min)
            F.threshold_(E.sub_(shift[:, None]), _LOWEST_EXPONENT, -torch.inf)
        else:
            E = torch.addmm(offset - shift, user, item.T, alpha=1 / temperature)
        Z = E.exp_().sum(1)
        ctx.save_for_backward(user, item, E, Z.clamp(min=torch.finfo(E.dtype).tiny))
        ctx.temperature = temperature
        return Z.log() + shift

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        user, item, E, Z = ctx.saved_tensors
        share = (grad / (Z * ctx.temperature))[:, None]
        return share * (E @ item), E.T @ (share * user), None, None


def _common_shift(user: Tensor, item: Tensor, offset: Tensor, temperature: float) -> float | None:
    """Return a shift that suits the exponentials of every row, or None where none does.

    Norms bound the scores. On a GPU the answer would have to be waited for.
    """
    if shapes_are_fixed(offset) or not user.numel() or not item.numel():
        return None
    longest = torch.linalg.vector_norm(user, dim=1).amax()
    reach = longest * torch.linalg.vector_norm(item, dim=1) / temperature
    low, high = (offset - reach).amin().item(), (offset + reach).amax().item()
    return high if high - low < -_LOWEST_EXPONENT else None  # a weight of 0 has no offset
