"""Datasets of models that need item features under some settings only."""

from __future__ import annotations

import copy
from functools import cached_property

from recbole_ssr.corruption import Corruption
from recbole_ssr.data.dataset import FixedSplitDataset, MultimodalDataset
from recbole_ssr.data.features import ItemFeatures


class LazyFeaturesDataset(MultimodalDataset):
    """MultimodalDataset that reads the features when a model first asks for them, if ever."""

    _inference: Corruption | None = None

    def _data_processing(self):
        FixedSplitDataset._data_processing(self)

    @cached_property
    def item_features(self) -> ItemFeatures:
        features = self._load_item_features()
        return features if self._inference is None else features.corrupted(self._inference)

    def with_features_of(self, inference: Corruption) -> LazyFeaturesDataset:
        """Return a shallow copy whose item_features, if asked for, are those of inference."""
        twin = copy.copy(self)
        twin._inference = inference
        twin.__dict__.pop("item_features", None)
        return twin
