"""Some nodes of the slots, beside the slots themselves, at the cost of those nodes alone.

Autograd turns a selection of rows into a gradient of full size, mostly zeros, and adds it to that
of the other uses of the slots: two passes over memory per selection, several milliseconds a step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def tap(slots: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
    """Return the slots, to be used from here on in their place, and some nodes of them.

    Shapes: slots (M, C, B, d); each of rows (B',) distinct; results (M, C, B, d), then
    (M, C, B', d) for each of rows.
    """
    return _Tap.apply(slots, *rows) if rows else (slots,)


class _Tap(Function):
    @staticmethod
    def forward(ctx, slots, *rows):
        ctx.save_for_backward(*rows)
        return slots.view_as(slots), *(slots.index_select(2, r) for r in rows)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_slots, *grads):
        # A copy: a sum hands one gradient to both of its inputs, so that the one that comes in may
        # be another's as well. All rows are added to the same copy.
        total = grad_slots.clone(memory_format=torch.contiguous_format)
        for rows, grad in zip(ctx.saved_tensors, grads):
            if total.is_cuda:  # one kernel; on a CPU the blocks one by one are faster
                total.index_add_(2, rows, grad)
            else:
                for out, part in zip(total.flatten(0, 1), grad.flatten(0, 1)):
                    out.index_add_(0, rows, part)
        return total, *(None for _ in grads)
