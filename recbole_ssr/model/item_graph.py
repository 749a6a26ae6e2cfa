"""The item graph of a run, from its features and settings."""

from __future__ import annotations

import torch

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.graph.cache import cache_folder, cached_array, content_key
from recbole_ssr.graph.knn import ItemGraph, knn

_VERSION = 1  # raise it when knn() changes what it returns


def build_item_graph(config, features) -> ItemGraph:
    """Combine one kNN graph per modality by `knn_weights`; neighbours come from the cache.

    `knn_weights` maps every modality to its share; shares are divided by their sum, and null means
    equal shares. Raises UserError for an unknown or missing modality, or shares that sum to 0.
    """
    weights = _weights(config["knn_weights"], features.modalities)
    neighbours, present = [], []
    for c in features.modalities:
        matrix, here = features.matrix(c), features.has_feature(c)
        key = content_key("knn", _VERSION, config["knn_k"], matrix.numpy(), here.numpy())
        near = cached_array(
            cache_folder(config["cache_dir"]) / "item-graphs", key,
            lambda matrix=matrix, here=here: knn(matrix, here, config["knn_k"]).numpy(),
        )
        neighbours.append(torch.from_numpy(near))
        present.append(here)
    return ItemGraph(neighbours, present, weights)


def _weights(given: dict | None, modalities: tuple[str, ...]) -> list[float]:
    if given is None:
        return [1 / len(modalities)] * len(modalities)
    for name in given:
        if name not in modalities:
            raise UserError(
                f"knn_weights names {name!r}, which is no modality of this dataset "
                f"({', '.join(modalities)}).{nearest(name, modalities)}"
            )
    missing = [c for c in modalities if c not in given]
    total = sum(given.values())
    if missing or total <= 0 or min(given.values()) < 0:
        raise UserError(
            f"knn_weights is {given}; give every modality ({', '.join(modalities)}) a share of at "
            "least 0, one of them above 0, or set knn_weights to null for equal shares"
        )
    return [given[c] / total for c in modalities]
