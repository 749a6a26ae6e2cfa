"""Datasets whose split never moves with the seed, and whose items carry features.

:class:`FixedSplitDataset` takes the split from a column of the interaction file, or draws
RecBole's own with a seed of its own. :class:`MultimodalDataset` adds the item features.
"""

import copy
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_ssr import corruption
from recbole_ssr.corruption import Corruption
from recbole_ssr.data.atomic_files import read_header
from recbole_ssr.data.exact import ExactDataset
from recbole_ssr.data.features import ItemFeatures, load_item_features
from recbole_ssr.data.manifest import check_split
from recbole_ssr.data.split_hash import split_hash
from recbole_ssr.data.train_share import kept
from recbole_ssr.errors import UserError

PARTS = ("train", "valid", "test")

logger = logging.getLogger("recbole_ssr")

# The column of the split in MMRec's files and in prepared ones.
_LABELS = "x_label"
# Used where a Config lacks the plugin's defaults, as in stock `run_recbole`; as in overall.yaml.
_SPLIT_SEED = 2020
_FEATURE_DEFAULTS = {
    "feature_path": "features",
    "modalities": None,
    "feature_fill": "zero",
    "feature_scaling": "l2",
}


class FixedSplitDataset(ExactDataset):
    """ExactDataset with a split that depends on the data and on ``split_seed`` only.

    ``split_column`` names a column of the .inter file: 0 train, 1 valid, 2 test. It is read
    whatever load_col has, and is no feature: no batch holds it. Raises UserError for files and
    labels that cannot be used.
    """

    @property
    def split_fingerprint(self) -> str:
        """sha256 (hex) of the (user, item) tokens of each part, whatever their order; after build.

        It is that of the whole split, whatever `train_share`. Raises RuntimeError before `build`.
        """
        if "_split_fingerprint" not in self.__dict__:
            raise RuntimeError("split_fingerprint exists only after build() has made the split.")
        return self._split_fingerprint

    def build(self) -> list["FixedSplitDataset"]:
        """Return the train, valid and test parts, each a shallow copy with its interactions.

        With a `train_share` below 1 the train part has that share of them; `full_train` of this
        dataset has them all. Raises UserError where a prepared dataset's split is not the one that
        its manifest records, and still has its name.
        """
        parts = self._build_by_protocol() if self._split_labels is None else self._build_by_label()
        self._split_fingerprint = self._hash_split(parts)
        if self._split_labels is not None:
            check_split(self.dataset_path, self.config["split_name"], self._split_fingerprint,
                        [len(part) for part in parts])
        for part in parts:
            part._split_fingerprint = self._split_fingerprint
        self.full_train = parts[0].inter_feat
        return [self._subsampled(parts[0]), *parts[1:]]

    def _subsampled(self, train: "FixedSplitDataset") -> "FixedSplitDataset":
        share = self.config["train_share"]
        if share in (None, 1):
            return train
        tokens = [self.field2id_token[field][train.inter_feat[field].numpy()].astype(str)
                  for field in (self.uid_field, self.iid_field)]
        index = kept(*tokens, share, self._split_seed())
        part = train.copy(train.inter_feat[torch.from_numpy(index)])
        left = [len(part.inter_feat[field].unique()) for field in (self.uid_field, self.iid_field)]
        logger.info("train_share %g: %s of %s training interactions, of %s users and %s items",
                    share, *(f"{n:,}" for n in (len(index), len(tokens[0]), *left)))
        return part

    def _split_seed(self) -> int:
        seed = self.config["split_seed"]
        return _SPLIT_SEED if seed is None else int(seed)

    def _build_by_protocol(self) -> list:
        # RecBole shuffles with torch's generator of the CPU, which seeds parameters as well.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._split_seed())
            return super().build()

    def _build_by_label(self) -> list:
        indices = [torch.from_numpy(np.flatnonzero(self._split_labels == i)) for i in range(3)]
        for code, (name, index) in enumerate(zip(PARTS, indices)):
            if len(index) == 0:
                raise UserError(
                    f"split_column {self.config['split_column']!r} of {self._inter_file()} leaves "
                    f"the {name} part empty: no interaction that passed the filters has the value "
                    f"{code}. Label some {code}, relax the filters, or set split_column to null."
                )
        self._change_feat_format()
        self._drop_unused_col()
        return [self.copy(self.inter_feat[index]) for index in indices]

    def _hash_split(self, parts: list) -> str:
        users, items = ([part.inter_feat[field].numpy() for part in parts]
                        for field in (self.uid_field, self.iid_field))
        return split_hash(users, items, self.field2id_token[self.uid_field],
                          self.field2id_token[self.iid_field])

    # Hooks of RecBole's loading, in the order in which it calls them.

    def _load_inter_feat(self, token, dataset_path):
        column = self.config["split_column"]
        if column is not None and self.benchmark_filename_list is not None:
            raise UserError(
                f"split_column {column!r} and benchmark_filename {self.benchmark_filename_list} "
                "both give the split. Set one of them to null."
            )
        super()._load_inter_feat(token, dataset_path)

    def _get_load_and_unload_col(self, source):
        load, unload = super()._get_load_and_unload_col(source)
        column = self.config["split_column"]
        if load and column is not None and source in ("inter", FeatureSource.INTERACTION):
            load = {*load, column}
        return load, unload

    def _check_header(self, file):
        super()._check_header(file)
        layout = self.config["field_separator"], self.config["encoding"]
        asked = "split_column" in self.config.external_config_dict
        if (self.config["split_column"] is None and not asked
                and self.benchmark_filename_list is None and _LABELS in read_header(file, *layout)):
            logger.warning("%s has the column %s, but the split is drawn by eval_args. If it holds "
                           "0 train, 1 valid, 2 test, set split_column=%s; else null.", file,
                           _LABELS, _LABELS)

    def _remap_ID_all(self):
        # The rows are final here, still hold their tokens, and floats are not yet rescaled.
        self._split_labels = self._take_split_labels()
        super()._remap_ID_all()

    def _take_split_labels(self) -> np.ndarray | None:
        """Remove the split column and return its labels, one of 0, 1, 2 per interaction."""
        column = self.config["split_column"]
        if column is None:
            return None
        labels = pd.to_numeric(self.inter_feat[column], errors="coerce").to_numpy()
        wrong = np.flatnonzero(~np.isin(labels, [0, 1, 2]))
        if len(wrong):
            row = self.inter_feat.iloc[wrong[0]]
            label = row[column]  # a number of numpy's, which would show its type
            label = repr(label) if isinstance(label, str) else f"{label:.10g}"
            raise UserError(
                f"{self._inter_file()}: {len(wrong):,} interactions have no valid {column}; that "
                f"of user {row[self.uid_field]!r} with item {row[self.iid_field]!r} is "
                f"{label}. Use 0 for train, 1 for valid and 2 for test."
            )
        self._del_col(self.inter_feat, column)
        self.field2bucketnum.pop(column, None)
        # Listed before the column went; RecBole is about to remap every field in it.
        self._rest_fields = [field for field in self._rest_fields if field != column]
        return labels.astype(np.int8)

    def _required_columns(self) -> list:
        column, types = self.config["split_column"], (FeatureType.FLOAT, FeatureType.TOKEN)
        labels = [] if column is None else [("split_column", column, types)]
        return super()._required_columns() + labels

    def _orders_by_time(self) -> bool:
        return self.config["split_column"] is None and super()._orders_by_time()


class MultimodalDataset(FixedSplitDataset):
    """FixedSplitDataset with ``item_features``, an ItemFeatures in the order of item ids.

    No field and no item is added: candidates and negatives are those of the interactions.

    Attributes: `n_known_items`, how many items come before new ones, None where there are none.
    """

    n_known_items: int | None = None

    def _data_processing(self):
        super()._data_processing()
        self.item_features = self._load_item_features()

    def with_features_of(self, inference: Corruption) -> "MultimodalDataset":
        """Return a shallow copy whose item_features are those of inference, see ItemFeatures."""
        twin = copy.copy(self)
        twin.item_features = self.item_features.corrupted(inference)
        return twin

    def _load_item_features(self) -> ItemFeatures:
        keys = _FEATURE_DEFAULTS | corruption.DEFAULTS
        keys.update({key: self.config[key] for key in keys if key in self.config})
        return load_item_features(
            # An absolute path replaces the dataset's folder in this join.
            folder=Path(self.dataset_path, keys["feature_path"]),
            item_tokens=self.field2id_token[self.iid_field],
            modalities=keys["modalities"],
            fill=keys["feature_fill"],
            scaling=keys["feature_scaling"],
            corruption=Corruption.of(keys, stage="training"),
        )
