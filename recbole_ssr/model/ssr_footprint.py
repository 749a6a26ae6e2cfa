"""The memory that SSR needs, estimated from the sizes of its data and its settings.

N nodes, E training interactions, M bands, d channels; f numbers of a modality after its
rotation, and the one that carries the bias; a number has 4 bytes. Constants were chosen once, on
graphs of 100,000 to ten million interactions.
"""

from __future__ import annotations

from recbole_ssr.footprint import Footprint

_NUMBER = 4
_DOUBLE = 8
_LIBRARIES = 380 * 2**20  # Python, torch, RecBole
# Bytes of an interaction: of the data in memory; of the graph, an index and a value in either
# direction; and of what building a graph, or reading the data, takes for a while.
_DATA, _GRAPH, _BUILDING = 80, 16, 90
_NODE = 200  # bytes of a user or an item beside its numbers: the text of its id
_ADAM = 4  # a value, its gradient and two moments
_OF_BATCH = 4  # numbers of the batch's nodes that live at a time, in bands of all modalities
_OF_EVALUATION = 4  # bands of all nodes that live at a time
_LOWER = ("embedding_size", "n_bands", "feature_components", "train_batch_size")


def footprint(config, dataset) -> Footprint:
    """Estimate the memory of a run. `dataset` is the training part, with its item features."""
    items, E = dataset.item_num, len(dataset)
    N, M, d = dataset.user_num + items, config["n_bands"], config["embedding_size"]
    features = dataset.item_features
    given = [features.dim(c) for c in features.modalities]
    most = 0 if config["train_features"] else config["feature_components"]
    f = [min(dim, most or dim) + 1 for dim in given]
    rows = min(config["train_batch_size"], E)
    C, batch = len(f) + 1, min(3 * rows, N)  # users, positives, negatives
    small = min(dataset.user_num, items) - 1  # without padding
    exact = config["band_filter"] == "exact" or (
        config["band_filter"] == "auto" and small <= config["exact_max_nodes"])
    rank = small if exact else config["svd_modes"] if config["band_filter"] == "svd" else 0
    parameters = N * d + sum(f) * d
    parameters += items * sum(given) * config["train_features"]
    parameters += dataset.user_num * d * len(f) * config["modality_preferences"]
    all_bands = M * N * d * _NUMBER
    held = {
        "libraries and data": _LIBRARIES + _DATA * E + _NODE * N,
        "parameters and Adam's moments": _ADAM * parameters * _NUMBER,
        "graph and item graph": _GRAPH * E + 2 * 8 * len(given) * items * config["knn_k"],
        "item features": sum(items * width for width in f) * _NUMBER,
        "modes of the graph": N * rank * _NUMBER,
        "bands of the features": sum(M * N * width for width in f) * _NUMBER,
    }
    before = held["bands of the features"]  # these do not exist yet in the first stages
    stages = {
        "to find the modes": 3 * N * rank * _DOUBLE,
        "to build the graph": _BUILDING * E - before,
        "to read the features": 3 * items * max(given) * _NUMBER - before,
        "to fit the bands": 2 * C * N * d * _NUMBER,
        "of a step": _OF_BATCH * M * C * batch * d * _NUMBER + 3 * rows**2 * _NUMBER,
        "of an evaluation": _OF_EVALUATION * all_bands,
    }
    return Footprint(held, stages, _LOWER + (("exact_max_nodes",) if exact else ()))
