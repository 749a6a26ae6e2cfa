"""Small stand-ins for RecBole's Config and Dataset, enough to build a model without files."""

from importlib.resources import files

import torch
import yaml


def settings(model="SSR", profile=None, **changes):
    """The plugin's defaults for `model` as a dict, with the fields RecBole adds."""
    config = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_",
              "device": torch.device("cpu"), "sampling_power": None,
              "train_neg_sample_args": {"distribution": "uniform", "alpha": 1.0}}
    names = ["overall.yaml", f"model/{model}.yaml"]
    for name in names + ([f"model/{model}.{profile}.yaml"] if profile else []):
        config |= yaml.safe_load((files("recbole_ssr.properties") / name).read_text())
    unknown = set(changes) - set(config)
    assert not unknown, unknown
    return config | {"device": torch.device("cpu")} | changes


class Features:
    """Item features held in memory."""

    def __init__(self, present=None, **matrices):
        self.modalities = tuple(matrices)
        self._matrices = {c: torch.as_tensor(m, dtype=torch.float32) for c, m in matrices.items()}
        self._present = present or {}

    @property
    def fitted(self):
        return self

    @property
    def n_known(self):
        return len(next(iter(self._matrices.values())))

    def matrix(self, c):
        return self._matrices[c].clone()

    def blocks(self, c):
        yield from self.matrix(c).split(7)

    def dim(self, c):
        return self._matrices[c].shape[1]

    def has_feature(self, c):
        return self._present.get(c, torch.ones(len(self._matrices[c]), dtype=torch.bool))


class Data:
    """Training interactions and features."""

    def __init__(self, users, items, n_users, n_items, features):
        self.inter_feat = {"user_id": torch.as_tensor(users), "item_id": torch.as_tensor(items)}
        self._count = {"user_id": n_users, "item_id": n_items}
        self.item_features = features

    def num(self, field):
        return self._count[field]


def triples(users, positives, negatives):
    """A training batch by RecBole's field names."""
    return {"user_id": torch.as_tensor(users), "item_id": torch.as_tensor(positives),
            "neg_item_id": torch.as_tensor(negatives)}
