"""Datasets whose split never moves with the seed, and whose items carry features.

:class:`FixedSplitDataset` takes the split from a column of the interaction file, or draws
RecBole's own with a seed of its own. :class:`MultimodalDataset` adds the item features.
"""

import copy
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.data.dataset import Dataset
from recbole.utils import FeatureType

from recbole_ssr.data import corruption
from recbole_ssr.data.corruption import Corruption
from recbole_ssr.data.features import ItemFeatures, load_item_features
from recbole_ssr.data.split_hash import split_hash
from recbole_ssr.data.train_share import kept
from recbole_ssr.errors import UserError, nearest

PARTS = ("train", "valid", "test")

logger = logging.getLogger("recbole_ssr")

# Used where a Config lacks the plugin's defaults, as in stock `run_recbole`; as in overall.yaml.
_SPLIT_SEED = 2020
_FEATURE_DEFAULTS = {
    "feature_path": "features",
    "modalities": None,
    "feature_fill": "zero",
    "feature_scaling": "l2",
}


class FixedSplitDataset(Dataset):
    """RecBole's Dataset with a split that depends on the data and on ``split_seed`` only.

    ``split_column`` names a column of the .inter file: 0 train, 1 valid, 2 test. It is no feature:
    no batch holds it. Raises UserError for files and labels that cannot be used.
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
        dataset has them all.
        """
        parts = self._build_by_protocol() if self._split_labels is None else self._build_by_label()
        self._split_fingerprint = self._hash_split(parts)
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

    def _download(self):
        raise UserError(
            f"The dataset folder {self.dataset_path} does not exist. Put "
            f"{self.dataset_name}.inter there, set data_path to the folder that holds "
            f"{self.dataset_name}/, or use the embedded dataset ml-100k."
        )

    def _load_inter_feat(self, token, dataset_path):
        if self.benchmark_filename_list is None:
            files = [self._inter_file()]
        else:
            files = [f"{token}.{part}.inter" for part in self.benchmark_filename_list]
            files = [os.path.join(dataset_path, file) for file in files]
            if self.config["split_column"] is not None:
                raise UserError(
                    f"split_column {self.config['split_column']!r} and benchmark_filename "
                    f"{self.benchmark_filename_list} both give the split. Set one of them to null."
                )
        for file in files:
            self._check_header(file)
        super()._load_inter_feat(token, dataset_path)

    def _load_feat(self, filepath, source):
        try:
            return super()._load_feat(filepath, source)
        except ValueError as error:
            raise UserError(
                f"{filepath} cannot be read: {error}. Give the first line as name:type columns, "
                "every other line the same number of columns, and float columns numbers only."
            ) from error

    def _reset_index(self):
        if self.inter_feat.empty:
            raise UserError(
                f"No interaction of {self._inter_file()} is left. Check that the file has rows, "
                "and relax user_inter_num_interval, item_inter_num_interval and val_interval."
            )
        super()._reset_index()

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
            raise UserError(
                f"{self._inter_file()}: {len(wrong):,} interactions have no valid {column}; that "
                f"of user {row[self.uid_field]!r} with item {row[self.iid_field]!r} is "
                f"{row[column]!r}. Use 0 for train, 1 for valid and 2 for test."
            )
        self._del_col(self.inter_feat, column)
        self.field2bucketnum.pop(column, None)
        # Listed before the column went; RecBole is about to remap every field in it.
        self._rest_fields = [field for field in self._rest_fields if field != column]
        return labels.astype(np.int8)

    def _check_header(self, file: str) -> None:
        columns = _read_header(file, self.config["field_separator"], self.config["encoding"])
        load, unload = self._get_load_and_unload_col("inter")
        id_types, label_types = (FeatureType.TOKEN,), (FeatureType.FLOAT, FeatureType.TOKEN)
        needs = [
            ("USER_ID_FIELD", self.uid_field, id_types),
            ("ITEM_ID_FIELD", self.iid_field, id_types),
            ("split_column", self.config["split_column"], label_types),
        ]
        for key, name, types in needs:
            if key == "split_column" and name is None:
                continue
            if columns.get(name) not in [known.value for known in types]:
                header = ", ".join(f"{column}:{kind}" for column, kind in columns.items())
                raise UserError(
                    f"{file} has the columns {header}, but {key} needs {name}:{types[0].value}."
                    f"{nearest(name, columns)} Add the column, or correct {key}."
                )
            if (load is not None and name not in load) or (unload is not None and name in unload):
                raise UserError(
                    f"{key} needs the column {name!r} of {file}, but load_col is {load} and "
                    f"unload_col {unload}. Add {name} to the list load_col has for inter, and take "
                    "it out of unload_col."
                )

    def _inter_file(self) -> str:
        return os.path.join(self.dataset_path, f"{self.dataset_name}.inter")


class MultimodalDataset(FixedSplitDataset):
    """FixedSplitDataset with ``item_features``, an ItemFeatures in the order of item ids.

    No field and no item is added: candidates and negatives are those of the interactions.
    """

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


def _read_header(file: str, separator: str, encoding: str | None) -> dict[str, str]:
    """Return the type of each column of an atomic file, as RecBole will read them."""
    if not os.path.isfile(file):
        others = sorted(path.name for path in Path(file).parent.glob("*.inter"))
        raise UserError(
            f"{file} does not exist; the folder holds {', '.join(others) or 'no .inter file'}. "
            "Name the interaction file after its folder."
        )
    with open(file, encoding=encoding, errors="replace") as lines:
        head = lines.readline().rstrip("\n")
    columns = {}
    for column in head.split(separator):
        name, _, kind = column.partition(":")
        if not name or kind not in [known.value for known in FeatureType]:
            raise UserError(
                f"{file} starts with {head[:200]!r}; {column[:80]!r} is no name:type column. Write "
                f"for instance user_id:token{separator}item_id:token, separated by "
                f"field_separator ({separator!r})."
            )
        columns[name] = kind
    return columns
