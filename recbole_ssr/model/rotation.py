"""Frozen features rotated once into fewer dimensions, so that projecting them costs little."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from recbole_ssr.cache import cache_folder, cached_array, content_key
from recbole_ssr.model.feature_blocks import in_blocks

logger = logging.getLogger("recbole_ssr")

_VERSION = 2  # raise it when the rotation changes what it returns
_SEED = 0  # of the randomised solver: the same directions whatever the seed of the run


def rotated(config, features, modality: str) -> Tensor:
    """Return a modality's features in their `feature_components` directions of most energy.

    A rotation keeps every inner product that the kept directions carry, so that a linear layer on
    top loses only what the explained share, which is logged, lacks. Features that have no more
    columns than that, and trainable ones, stay as they are; 0 keeps all. The directions are those
    of the features that the model was trained on, whatever fills those that are missing.

    Shapes: result (I, f).
    """
    components = config["feature_components"]
    width = features.dim(modality)
    if not 0 < components < width or config["train_features"]:
        return features.matrix(modality)
    trained = features.fitted
    present = trained.has_feature(modality)
    key = content_key("rotation", _VERSION, components, _SEED, in_blocks(trained, modality),
                      present.numpy())
    directions = torch.from_numpy(cached_array(
        cache_folder(config["cache_dir"]) / "rotations", key,
        lambda: _directions(_present(trained.matrix(modality), present).numpy(), components),
    ))
    parts, energy = [], 0.0
    for rows in features.blocks(modality):  # wide features are never in memory as a whole
        parts.append(rows @ directions)
        energy += torch.linalg.vector_norm(rows).item() ** 2
    out = torch.cat(parts)
    share = torch.linalg.vector_norm(out).item() ** 2 / max(energy, 1e-12)
    logger.info("features %s: rotated from %d to %d dimensions, which hold %.1f %% of their energy",
                modality, width, out.shape[1], 100 * share)
    return out


def fitted_centre(config, features, modality: str) -> Tensor | None:
    """Return the mean of the rotated features that a model was trained on, present rows only.

    None where these are the features at hand. Shapes: result (f,).
    """
    fitted = features.fitted
    if fitted is features:
        return None
    return centre_of(rotated(config, fitted, modality), fitted.has_feature(modality)[:, None])


def centre_of(matrix: Tensor, present: Tensor) -> Tensor:
    """Return the mean of the present rows. Shapes: matrix (I, f); present (I, 1); result (f,)."""
    present = present.to(matrix)
    return (matrix * present).sum(0) / present.sum().clamp(min=1)


def _present(matrix: Tensor, present: Tensor) -> Tensor:
    """Return the matrix with zeros for missing rows. Shapes: matrix (I, f); present (I,)."""
    return matrix if present[1:].all() else matrix * present[:, None]


def _directions(F: np.ndarray, components: int) -> np.ndarray:
    """Return the leading right singular vectors (f, components) of F."""
    from sklearn.utils.extmath import randomized_svd  # slow to import

    _, _, Vt = randomized_svd(F, n_components=min(components, *F.shape), random_state=_SEED)
    return np.ascontiguousarray(Vt.T, dtype=np.float32)
