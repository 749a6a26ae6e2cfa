r"""GF-CF: a linear and an ideal low-pass graph filter, without training and without features.

Shen et al., How powerful is graph convolution for recommendation? (CIKM 2021, arXiv:2108.07567).

.. math::
    s = R\,(w\,\hat R^\top \hat R + \alpha\, D^{-1/2} V V^\top D^{1/2}),\qquad
    \hat R_{ui} = \frac{R_{ui}}{\sqrt{d_u d_i}}

R is the matrix of training interactions, D the items' degrees, V the k right singular vectors of
:math:`\hat R` with the largest singular values: the lowest modes of the items' graph. Neither
filter is ever an (I, I) matrix: one is two sparse products, the other two thin factors.

Shapes: R (U, I); V (I, k).

Departures: w (`linear_weight`) is 1 in the paper; 0 leaves the low-pass filter alone. Singular
values of a graph of several components repeat; V is computed component by component, so that it is
the same in every run.
"""

from __future__ import annotations

from functools import partial

from recbole_ssr.graph.item_products import GramWeights, WeightedSum
from recbole_ssr.model.closed_form import ClosedForm, fit_low_pass, weighted_sum


class GFCF(ClosedForm):
    """The graph filter of collaborative filtering."""

    needs_features = False

    def fit(self, config, dataset, graph) -> WeightedSum:  # noqa: ARG002
        return weighted_sum({
            "linear_weight": (config["linear_weight"], partial(GramWeights, graph)),
            "alpha": (config["alpha"], partial(fit_low_pass, config, graph)),
        })
