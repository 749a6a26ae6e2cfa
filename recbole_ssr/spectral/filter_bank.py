"""What every filter bank offers: bands of signals that sum to the signals."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.chebyshev import LinearMap, mapped


class FilterBank(nn.Module):
    """Splits signals on the user-item graph into M bands by frequency; abstract.

    Band 1 is the lowest. A bank is usable from its construction on; `fit` only moves its borders.
    What `fit` finds is held in small buffers, so that it is saved and restored with a model.

    Shapes: U users, I items, d width of a signal, C signals, D = C d, M bands, E eigenvalues.
    """

    def __init__(self, n_bands: int):
        super().__init__()
        if n_bands < 1:
            raise ValueError(f"n_bands is {n_bands}; a filter bank has at least one band")
        self.n_bands = n_bands

    # Eigenvalues of the Laplacian between adjacent bands (M - 1,), ascending, for diagnosis only:
    # nan where a band is no interval, infinite where an end of the spectrum is left without modes.
    borders: Tensor

    def forward(
        self,
        signals: Sequence[Nodes],
        users: Tensor | None = None,
        items: Tensor | None = None,
        before: LinearMap | None = None,
    ) -> Nodes:
        """Return the bands of signals on some nodes, differentiable with regard to the signals.

        With `before` they are those of the signals that it makes of them.

        Shapes: signals: C pairs of (U, d) and (I, d); users (Bu,), items (Bi,) ids without
        repetition, None for all; result a pair of (M, Bu, D) and (M, Bi, D), the signals side by
        side.
        """
        raise NotImplementedError

    def fit(self, signal: Nodes) -> None:
        """Move the borders so that every band holds about 1 / M of this signal's energy.

        Deterministic, without gradient. Shapes: signal (U, D), (I, D). Raises ValueError for a
        signal without energy.
        """
        raise NotImplementedError

    def add_receivers(self, rows: Tensor) -> None:
        """Filter the signals of users who joined the graph, too; see BipartiteGraph.add_receivers.

        For a bank that keeps more of the graph than the graph. Shapes: rows (n, I) CSR.
        """

    def response(self, eigenvalues: Tensor) -> Tensor:
        """Return every band's gain at Laplacian eigenvalues.

        Shapes: eigenvalues (E,) in [0, 2]; result (M, E).
        """
        raise NotImplementedError


def signals_after(before: LinearMap | None, signals: Sequence[Nodes]) -> Sequence[Nodes]:
    """Return the signals that `before` makes of them, or themselves."""
    return signals if before is None else [mapped(before, signal) for signal in signals]
