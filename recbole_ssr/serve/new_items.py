"""Items with features that a trained model has never seen.

The model is built once more on the same interactions and on features with the new items behind the
known ones. Its parameters are the trained ones; where it has a row per item, a new one has zeros:
no embedding of its own, and where items have a bias that of an item of average popularity, because
nobody could have met it in training. New items are nobody's neighbours and have no interactions, so
that known items keep what they have, and one new item does not depend on the others.
"""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from recbole.utils import init_seed
from torch import Tensor, nn

from recbole_ssr.corruption import Corruption
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.data.feature_files import feature_paths, read_tokens
from recbole_ssr.data.features import list_modalities
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.files import expanded
from recbole_ssr.model.base import MultimodalRecommender
from recbole_ssr.model.closed_form import ClosedForm
from recbole_ssr.serve.scores import EmbeddingScores, HistoryScores, Scores

logger = logging.getLogger("recbole_ssr")

_CHECKED_USERS = 64  # whose scores tell whether a closed form sees new items at all


class NewItems:
    """The new items of a feature folder, for one run.

    Attributes: tokens, those that the run does not know yet; experiment, the run's with a model
    that has the new items behind the known ones.
    """

    def __init__(self, experiment: Experiment, folder: str | Path):
        model = experiment.model
        if not getattr(model, "embeds_new_items", False):
            raise UserError(
                f"{experiment.config['model']} has no embedding of an item by its features alone; "
                "train it with these items, or take a model that has, for instance SSR, "
                "FeatureLightGCN, FREEDOM, VBPR or FeatureItemKNN"
            )
        if not isinstance(folder, (str, os.PathLike)):
            raise UserError(f"new_items is {folder!r}; name the folder of their features")
        folder, dataset = expanded(folder), experiment.dataset
        known = dataset.field2id_token[dataset.iid_field].astype(str)
        self.tokens = _new_tokens(folder, dataset.item_features.modalities, known)
        self.n_known = len(known)
        self.experiment = _extended(experiment, folder, self.tokens)
        self._rows = None
        if isinstance(model, MultimodalRecommender):
            self._rows = self.experiment.model.final_embeddings().item[self.n_known:]
            blind = not self._rows.any()
        else:
            users = torch.arange(1, min(_CHECKED_USERS + 1, dataset.user_num))
            scores = HistoryScores(self.experiment.model, self.experiment.model.history["R"])
            blind = not scores.block(users)[:, self.n_known:].any()
        if blind:
            raise UserError(f"with its settings {experiment.config['model']} makes nothing of the "
                            f"features of new items: all of them would score 0")

    def behind(self, scores: Scores) -> Scores:
        """Return scores of known items with those of the new ones behind."""
        if isinstance(scores, EmbeddingScores):
            return EmbeddingScores(scores.user, torch.cat([scores.item, self._rows]))
        return _Joined(scores, self.experiment.model, len(self.tokens))


class _Joined:
    """Known items by the model as it was fitted, new ones by the one that was fitted with them."""

    def __init__(self, known: HistoryScores, model: ClosedForm, n_new: int):
        self.known, self.n_users, self.n_items = known, known.n_users, known.n_items + n_new
        rows = known.rows
        wide = torch.sparse_csr_tensor(rows.crow_indices(), rows.col_indices(), rows.values(),
                                       (self.n_users, self.n_items), check_invariants=False)
        self.new = HistoryScores(model, wide)

    def block(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        known, new = self.known.block(users), self.new.block(users)
        scores = torch.cat([known, new[:, known.shape[1]:]], dim=1)
        return scores if items is None else scores[:, items.to(scores.device)]


def _new_tokens(folder: Path, modalities: Sequence[str], known: np.ndarray) -> list[str]:
    """Return the tokens of the run's modalities that are none of the known ones, sorted."""
    if not folder.is_dir():
        raise UserError(f"the folder {folder} of new items does not exist. Name one with their "
                        "<modality>.npy and <modality>.tokens")
    named, there = set(), list_modalities(folder)
    useful = [modality for modality in there if modality in modalities]
    if 0 < len(useful) < len(there):
        logger.warning("%s has features %s, of which the run has none: left out", folder,
                       ", ".join(modality for modality in there if modality not in modalities))
    for modality in useful or there:  # where none is, loading them says so
        names = feature_paths(folder, modality)[1]
        if names.is_file():  # else loading the features says what is missing
            named.update(read_tokens(names))
    tokens = sorted(named.difference(known))
    if not tokens:
        raise UserError(f"{folder} has no item that the run does not know: all of its "
                        f"{len(named):,} tokens are items of the dataset")
    logger.info("%s new items; %s of the tokens in %s are known to the run and stay as they are",
                f"{len(tokens):,}", f"{len(named) - len(tokens):,}", folder)
    return tokens


def _extended(experiment: Experiment, folder: Path, tokens: Sequence[str]) -> Experiment:
    """Return the experiment with a model, in evaluation mode, that has the new items as well."""
    config, train = experiment.config, experiment.train._dataset
    assert isinstance(train, MultimodalDataset)
    data = copy.copy(train.with_features_of(Corruption.of(config, stage="inference")))
    data.item_features = data.item_features.with_new_items(folder, tokens)
    field = data.iid_field
    names = np.concatenate([data.field2id_token[field].astype(str), np.asarray(tokens, str)])
    data.n_known_items = len(names) - len(tokens)
    data.field2id_token = {**data.field2id_token, field: names}
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, data).to(config["device"])
    _take_parameters(model, experiment.model, len(tokens))
    if isinstance(model, MultimodalRecommender):
        model.items_added(len(names) - len(tokens))
    return experiment._replace(model=model.eval())


@torch.no_grad()
def _take_parameters(model: nn.Module, trained: nn.Module, n_new: int) -> None:
    """Copy what was trained; a row of a new item is zero, or its features where these train."""
    features = {id(X) for X in getattr(model, "trained_features", list)()}
    parameters, state = dict(model.named_parameters()), dict(trained.state_dict())
    for name, value in state.items():
        here = parameters.get(name)
        if here is None or here.shape == value.shape:
            continue
        n_known = len(here) - n_new
        assert here.shape[1:] == value.shape[1:] and n_known == len(value), name
        added = here[n_known:] if id(here) in features else torch.zeros_like(here[n_known:])
        state[name] = torch.cat([value, added])
    model.load_state_dict(state)
