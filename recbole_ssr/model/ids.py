"""What the baselines on ids alone share, and those that put little beside the ids."""

from __future__ import annotations

from torch import Tensor

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, xavier
from recbole_ssr.model.propagation import propagate_mean
from recbole_ssr.nn.batch import Batch


class IdBaseline(Baseline):
    """Trained ids e of users and items, propagated as in LightGCN.

    A dataset needs no features, and features beside it are not loaded.

    Shapes: E_user (U, d); E_item (I, d).
    """

    user_tables, affine_users = ("E_user",), True
    needs_features = False

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.E_user = xavier(self.n_users, config["embedding_size"])
        self.E_item = xavier(self.n_items, config["embedding_size"])
        self.n_layers, self.l2_weight = config["n_layers"], config["l2_weight"]

    def forward(self) -> Embeddings:
        return Embeddings(*propagate_mean(self.graph, self.E_user, self.E_item, self.n_layers))

    def ids(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ids of a batch's triples, see :func:`rows_of_batch`."""
        return rows_of_batch(self.E_user, self.E_item, batch)


def rows_of_batch(user: Tensor, item: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows of a batch's users, positives and negatives, one row an occurrence.

    Shapes: user (U, d), item (I, d) of all nodes; result (B, d) each.
    """
    return (user.index_select(0, batch.user_ids), item.index_select(0, batch.positive_ids),
            item.index_select(0, batch.negative_ids))
