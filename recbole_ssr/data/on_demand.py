"""Datasets of models that need item features under some settings only."""

from __future__ import annotations

from functools import cached_property

from recbole_ssr.data.dataset import FixedSplitDataset, MultimodalDataset
from recbole_ssr.data.features import ItemFeatures


class OnDemandDataset(MultimodalDataset):
    """MultimodalDataset that reads the features when a model first asks for them, if ever."""

    def _data_processing(self):
        FixedSplitDataset._data_processing(self)

    @cached_property
    def item_features(self) -> ItemFeatures:
        return self._load_item_features()
