"""Models on the contract's data with parameters far from those that they start with."""

import torch
from closed_form_contract import ClosedFormContract
from contract import ModelContract
from recbole.utils import get_model

from recbole_ssr.model.closed_form import ClosedForm
from recbole_ssr.registry import MODELS

# The models that users can join, and settings that change how they do.
FOLDED = {
    "SSR": ({}, {"band_filter": "chebyshev", "user_weights": True},
            {"band_filter": "svd", "svd_modes": 4, "modality_preferences": True},
            {"objective": "bce", "projection": "mlp", "item_graph_weight": 0.4},
            {"profile": "reference"}),
}
FOLDED |= {name: ({},) for name in MODELS
           if name != "SSR" and getattr(get_model(name), "user_tables", None)}


def built(name, changes):
    """Return a model and its edges; user 3 and item 7 have none."""
    closed = issubclass(get_model(name), ClosedForm)
    contract = ClosedFormContract() if closed else ModelContract()
    contract.model, contract.profile = name, changes.get("profile")
    edges = [(u, i) for u, i in contract.edges()[0] if u != 3 and i != 7]
    model = contract.build(edges=edges, **{k: v for k, v in changes.items() if k != "profile"})
    generator = torch.Generator().manual_seed(4)
    for p in model.parameters():
        p.data += 0.3 * torch.randn(p.shape, generator=generator)
    if hasattr(model, "fit_bands"):
        model.fit_bands()
    return model.eval(), torch.tensor(edges)
