r"""The sum of the package's closed forms: what linear algebra alone reaches.

.. math:: s = w_E\, s_\text{EASE} + w_L\, s_\text{low} + w_G\, s_\text{linear} + w_K\, s_\text{kNN}

EASE with features (:mod:`recbole_ssr.model.feature_ease`), the two filters of GF-CF
(:mod:`recbole_ssr.model.gfcf`) and item kNN (:mod:`recbole_ssr.model.feature_itemknn`) see
different things: EASE what occurs together, the low modes what holds for many users, kNN the
features alone. With `standardise`, every part first has mean 0 and deviation 1 over the items, the
padding's among them, user by user: its weight then does not depend on its scale. A part of weight 0
is not fitted.

Shapes: all s (U, I), computed for a block of users at a time.
"""

from __future__ import annotations

from functools import partial

from recbole_ssr.graph.item_products import GramWeights, WeightedSum
from recbole_ssr.model.closed_form import (
    ClosedForm,
    fit_ease,
    fit_item_knn,
    fit_low_pass,
    n_known_of,
    weighted_sum,
)


class ClosedFormSum(ClosedForm):
    """EASE, low-pass, linear filter and item kNN, weighted."""

    embeds_new_items = True

    def fit(self, config, dataset, graph) -> WeightedSum:
        return weighted_sum({
            "ease_weight": (config["ease_weight"], partial(fit_ease, config, dataset, graph)),
            "low_pass_weight": (config["low_pass_weight"],
                                partial(fit_low_pass, config, graph)),
            "linear_weight": (config["linear_weight"], partial(GramWeights, graph)),
            "knn_weight": (config["knn_weight"], partial(fit_item_knn, config, dataset, graph)),
        }, config["standardise"], n_known_of(dataset))
