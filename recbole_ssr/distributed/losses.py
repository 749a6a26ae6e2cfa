"""Losses and gradients of a step that several processes share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.autograd import Function

from recbole_ssr.distributed.group import average, place

_SMALL = 1 << 16  # numbers; gradients of fewer travel together, as each journey has its price


def of_all(losses):
    """Return losses whose values are those of the whole batch, and whose gradients are one's own.

    `losses` is a tensor, or a tuple, named or not, of tensors. The values agree in all processes,
    so that all of them see the same loss that is no number.
    """
    if place().size == 1:
        return losses
    parts = losses if isinstance(losses, tuple) else (losses,)
    values = torch.stack([part.detach().float().reshape(()) for part in parts])
    average([values])
    parts = [_WithValue.apply(part, value) for part, value in zip(parts, values)]
    if not isinstance(losses, tuple):
        return parts[0]
    return type(losses)(*parts) if hasattr(losses, "_fields") else tuple(parts)


class _WithValue(Function):
    @staticmethod
    def forward(ctx, loss, value):  # noqa: ARG004
        return value.to(loss.dtype).reshape(loss.shape).clone()

    @staticmethod
    def backward(ctx, grad):  # noqa: ARG004
        return grad, None


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their means over the processes: those of the whole batch."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    average([g for g in gradients if g.numel() > _SMALL])
    small = [g for g in gradients if g.numel() <= _SMALL]
    if not small or place().size == 1:
        return
    joint = torch.cat([g.reshape(-1) for g in small])
    average([joint])
    for gradient, mean in zip(small, joint.split([g.numel() for g in small])):
        gradient.copy_(mean.view_as(gradient))
