"""The item graph of a run, from its features and settings."""

from __future__ import annotations

import logging

import torch

from recbole_ssr.cache import cache_folder, cached_array, content_key
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.knn import ItemGraph, knn, similarities
from recbole_ssr.graph.lift import cooccurrence_lift
from recbole_ssr.model.feature_blocks import in_blocks

logger = logging.getLogger("recbole_ssr")

_VERSION = 2  # raise it when knn() changes what it returns


def build_item_graph(config, features) -> ItemGraph:
    """Combine one kNN graph per modality by `knn_weights`; neighbours come from the cache.

    `knn_weights` maps every modality to its share; shares are divided by their sum, and null means
    equal shares. Raises UserError for an unknown or missing modality, or shares that sum to 0.
    """
    weights = shares_of(config["knn_weights"], features.modalities)
    return _combined(config, features, features.modalities, weights, config["knn_k"])


def fitting_item_graph(config, features, graph: BipartiteGraph) -> ItemGraph:
    """As :func:`build_item_graph`; where `knn_weights` is null, shares by how well modalities fit.

    A modality whose neighbours share users more often than chance says what goes together: its
    share is the squared excess of :func:`recbole_ssr.graph.lift.cooccurrence_lift` over 1. Equal
    shares where no modality exceeds it. Only training's interactions and features count, whatever
    features the graph is of.
    """
    weights = shares_of(config["knn_weights"], features.modalities)
    if config["knn_weights"] is None and len(weights) > 1:
        excess = [max(_lift(config, features.fitted, c, graph) - 1, 0) ** 2
                  for c in features.modalities]
        if sum(excess) > 0:
            weights = [x / sum(excess) for x in excess]
        logger.info("item graph: shares by co-occurrence %s", ", ".join(
            f"{c} {w:.2f}" for c, w in zip(features.modalities, weights)))
    return _combined(config, features, features.modalities, weights, config["knn_k"])


def _lift(config, features, modality: str, graph: BipartiteGraph) -> float:
    near = neighbours_of(config, features, modality, config["knn_k"])
    item = features.has_feature(modality).nonzero().expand_as(near).reshape(-1)
    other = near.reshape(-1)
    distinct = item != other
    return cooccurrence_lift(graph, item[distinct], other[distinct])


def modality_graph(config, features, modality: str, k: int) -> ItemGraph:
    """Return the kNN graph of one modality, with the cosines as edge weights."""
    return _combined(config, features, [modality], [1.0], k, weighted=True)


def neighbours_of(config, features, modality: str, k: int) -> torch.Tensor:
    """Return the k nearest items of every item with features, from the cache where it has them.

    They are found on the device of the run. Shapes: result (n_present, k), see
    :func:`recbole_ssr.graph.knn.knn`.
    """
    here = features.has_feature(modality)
    n_known = features.n_known if features.n_known < len(here) else None
    new = () if n_known is None else ("new items from", n_known)
    device = config["device"]
    key = content_key("knn", _VERSION, k, in_blocks(features, modality), here.numpy(), *new)
    near = cached_array(
        cache_folder(config["cache_dir"]) / "item-graphs", key,
        lambda: knn(features.matrix(modality).to(device), here.to(device), k,
                    n_known=n_known).cpu().numpy())
    return torch.from_numpy(near)


def _combined(config, features, modalities, weights, k: int, weighted: bool = False) -> ItemGraph:
    neighbours = [neighbours_of(config, features, c, k) for c in modalities]
    present = [features.has_feature(c) for c in modalities]
    cosines = None
    if weighted:
        cosines = [similarities(features.matrix(c), here, near)
                   for c, here, near in zip(modalities, present, neighbours)]
    return ItemGraph(neighbours, present, weights, cosines)


def shares_of(knn_weights: dict | None, modalities: tuple[str, ...]) -> list[float]:
    """Return the share of every modality, summing to 1; see :func:`build_item_graph`."""
    if knn_weights is None:
        return [1 / len(modalities)] * len(modalities)
    for name in knn_weights:
        if name not in modalities:
            raise UserError(
                f"knn_weights names {name!r}, which is no modality of this dataset "
                f"({', '.join(modalities)}).{nearest(name, modalities)}"
            )
    missing = [c for c in modalities if c not in knn_weights]
    total = sum(knn_weights.values())
    if missing or total <= 0 or min(knn_weights.values()) < 0:
        raise UserError(
            f"knn_weights is {knn_weights}; give every modality ({', '.join(modalities)}) a share "
            "of at least 0, one of them above 0, or set knn_weights to null for equal shares"
        )
    return [knn_weights[c] / total for c in modalities]
