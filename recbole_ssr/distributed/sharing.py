r"""How the processes share a training step on one batch.

Every process computes the step of the whole batch but for its largest sums, of which it takes a
part: of the anchors of a softmax and of a contrast, of the channels of a product with the graph. A
sum that is shared counts as often as there are processes, so that the mean of a loss over them, and
that of its gradients, is the loss of one process:

.. math:: \frac{1}{P} \sum_p \Big(a + P \sum_{n \in p} b_n\Big) = a + \sum_n b_n

Outside of :func:`shared_step` nothing is shared: evaluation, and what a model fits between epochs,
are whole in every process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from recbole_ssr.distributed.group import place

_sharing = False


@contextmanager
def shared_step() -> Iterator[None]:
    """Share the sums of what is computed in here."""
    global _sharing
    _sharing, before = place().size > 1, _sharing
    try:
        yield
    finally:
        _sharing = before


def sharing() -> bool:
    """Tell whether several processes share the sums of this step."""
    return _sharing


def own_part(n: int) -> slice:
    """Return which of n terms this process adds up: all of them where nothing is shared."""
    return part_of(n, place().rank, place().size) if _sharing else slice(0, n)


def summed(own: Tensor) -> Tensor:
    """Return a sum over this process's part as it enters a loss; see the module's docstring."""
    return place().size * own if _sharing else own


def part_of(n: int, rank: int, size: int) -> slice:
    """Return a process's share of n rows: the shares are disjoint, and their sizes nearly equal.

    >>> [part_of(5, rank, 2) for rank in range(2)]
    [slice(0, 2, None), slice(2, 5, None)]
    """
    return slice(n * rank // size, n * (rank + 1) // size)
