"""SSR, profile paper, against its contract and the claims of its equations."""

import pytest
import torch
from contract import ITEMS, USERS, ModelContract

from recbole_ssr.errors import UserError


class TestSSR(ModelContract):
    model = "SSR"
    overfit_loss = "ranking"
    # Inner products: the loss of a softmax over cosines has a floor far above zero.
    settings = {"objective": "bce", "init_std": 0.1, "consistency_weight": 0.01,
                "contrast_nodes": 0}


class TestSSRWithEverything(TestSSR):
    """All options on that add parameters or paths."""

    settings = {**TestSSR.settings, "projection": "mlp", "train_features": True,
                "modality_preferences": True, "user_weights": True, "item_graph_weight": 0.3,
                "modality_dropout": 0.2, "mask_scope": "global", "band_filter": "chebyshev",
                "contrast_ids": True}
