"""The raw features of one modality inside of a model: frozen or trained, some of them missing."""

from __future__ import annotations

from torch import Tensor, nn

from recbole_ssr.constants import Constants


class RawFeatures(nn.Module):
    """Features of all items; rows of items without them are zero and stay so.

    `present` is 1 where an item has features: what a layer with a bias makes of a missing row has
    to be multiplied by it, or the bias would pass for content.

    Shapes: matrix (I, f); present (I,) bool.
    """

    table = "X"  # the name of the features in a checkpoint, where they are trained

    def __init__(self, matrix: Tensor, present: Tensor, trainable: bool):
        super().__init__()
        here = present[:, None].to(matrix)
        matrix = matrix * here
        self.width, self.trainable = matrix.shape[1], trainable
        self.complete = bool(present[1:].all())  # id 0 is padding, whose row nobody reads
        if trainable:
            self.register_parameter(self.table, nn.Parameter(matrix))
            self.constants = Constants(present=here)
        else:
            self.constants = Constants(present=here, X=matrix)

    @property
    def present(self) -> Tensor:
        """Shapes: (I, 1) of 0 and 1."""
        return self.constants["present"]

    @property
    def trained_rows(self) -> Tensor | None:
        """The features where they are a parameter. Shapes: (I, f)."""
        return getattr(self, self.table) if self.trainable else None

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Return the features of all items, or of some. Shapes: items (B,); result (I or B, f)."""
        X = self.trained_rows if self.trainable else self.constants["X"]
        if items is not None:
            X = X.index_select(0, items)
        if not self.trainable or self.complete:
            return X
        return X * self.mask(items)

    def mask(self, items: Tensor | None = None) -> Tensor:
        """Return `present` of all items or of some. Shapes: (I or B, 1)."""
        return self.present if items is None else self.present.index_select(0, items)

    def through(self, layer: nn.Module, items: Tensor | None = None) -> Tensor:
        """Apply a layer to the features; items without them get zeros, not the layer's bias.

        Shapes: layer maps (B, f) to (B, d); result (I or B, d).
        """
        return layer(self(items)) * self.mask(items)
