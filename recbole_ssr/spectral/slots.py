"""Some nodes of the slots, beside the slots themselves, at the cost of those nodes alone.

Autograd turns a selection of rows into a gradient of full size, mostly zeros, and adds it to that
of the other uses of the slots: two passes over memory per selection, several milliseconds a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def tap(slots: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the slots, to be used from here on in their place, and some nodes of them.

    Shapes: slots (M, C, B, d); rows (B',) distinct; result (M, C, B, d), (M, C, B', d).
    """
    return _Tap.apply(slots, rows)


def own(grad: Tensor) -> Tensor:
    """Return a gradient that may be added to in place.

    One that autograd hands to a function is the function's own if it is dense: the producer made
    it for this one edge of the graph. An expanded one shares its memory with itself.
    """
    return grad.clone(memory_format=torch.contiguous_format) if 0 in grad.stride() else (
        grad.contiguous()
    )


class _Tap(Function):
    @staticmethod
    def forward(ctx, slots, rows):
        ctx.save_for_backward(rows)
        return slots.view_as(slots), slots.index_select(2, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_slots, grad_rows):
        (rows,) = ctx.saved_tensors
        total = own(grad_slots)
        if total.is_cuda:  # one kernel; on a CPU the blocks one by one are faster
            total.index_add_(2, rows, grad_rows)
        else:
            for out, part in zip(total.flatten(0, 1), grad_rows.flatten(0, 1)):
                out.index_add_(0, rows, part)
        return total, None
