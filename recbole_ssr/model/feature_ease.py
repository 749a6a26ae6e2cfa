r"""EASE with item features: a linear autoencoder in closed form.

Harald Steck, Embarrassingly shallow autoencoders for sparse data (WWW 2019, arXiv:1905.03375).

R is the matrix of training interactions, F the items' features, all modalities side by side; as
further rows of the data, :math:`F^\top` says what R does: which items resemble each other.

.. math::
    s &= R B,\qquad
    B = \arg\min_{\operatorname{diag} B = 0} \|R - R B\|^2 + \beta \|F^\top - F^\top B\|^2
        + \lambda \|B\|^2 \\
    B &= 1 - P \operatorname{diag}(P)^{-1},\qquad P = (R^\top R + \beta F F^\top + \lambda)^{-1}

Shapes: R (U, I); F (I, f); B, P (I, I).

Departures: the paper has no features; :math:`\beta = 0` (`feature_weight`) is the paper's model.
B is dense, hence `max_items`. An item without features in a modality has zeros there. An item
without interactions is still scored, by its features.
"""

from __future__ import annotations

from recbole_ssr.graph.item_products import DenseWeights
from recbole_ssr.model.closed_form import ClosedForm, fit_ease


class FeatureEASE(ClosedForm):
    """EASE on interactions and features."""

    embeds_new_items = True

    def fit(self, config, dataset, graph) -> DenseWeights:
        return fit_ease(config, dataset, graph)
