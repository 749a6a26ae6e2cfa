"""Projection of item features into the embedding space."""

from __future__ import annotations

from torch import Tensor, nn

_NEGATIVE_SLOPE = 0.01  # LeakyReLU as SSR's released code has it


class FeatureProjection(nn.Module):
    r"""Two-layer projection :math:`H = W_2\,\mathrm{LeakyReLU}(W_1 F + b_1) + b_2`.

    Shapes: features (I, F); result (I, d).
    """

    def __init__(self, n_features: int, hidden: int, width: int):
        super().__init__()
        self.W1 = nn.Linear(n_features, hidden)
        self.W2 = nn.Linear(hidden, width)
        self.activation = nn.LeakyReLU(_NEGATIVE_SLOPE)

    def forward(self, features: Tensor) -> Tensor:
        return self.W2(self.activation(self.W1(features)))
