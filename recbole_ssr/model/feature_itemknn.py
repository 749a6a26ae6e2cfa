r"""Item kNN on features: an item's score is its similarity to the user's items.

Sarwar et al., Item-based collaborative filtering recommendation algorithms (WWW 2001), with cosines
of features, of interactions or of both.

.. math::
    s_{uj} = \sum_{i:\, R_{ui} = 1} W_{ij},\qquad
    W_{ij} = (1 - w) \sum_c \alpha_c\, [i \in N_k^c(j)]\, \cos(x_i^c, x_j^c)
        + w\, [i \in N_k^R(j)]\, \cos(R_{\cdot i}, R_{\cdot j})

:math:`N_k^c(j)` are the k items nearest to item j in modality c, j not among them, and
:math:`N_k^R(j)` those nearest by who interacted. The shares :math:`\alpha_c` sum to 1.

Shapes: R (U, I); x^c (I, f_c); W (I, I) sparse, at most (C + 1) k entries per item.

Departures: the paper weighs ratings and divides by the sum of similarities; a ranking of implicit
feedback takes the sum itself. An item without features in a modality has no neighbour there.
"""

from __future__ import annotations

from recbole_ssr.graph.item_products import SparseWeights
from recbole_ssr.model.closed_form import ClosedForm, fit_item_knn


class FeatureItemKNN(ClosedForm):
    """Item kNN by the cosine of features, of interactions, or both."""

    embeds_new_items = True

    def fit(self, config, dataset, graph) -> SparseWeights:
        return fit_item_knn(config, dataset, graph)
