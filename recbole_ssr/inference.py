"""A trained model on other features than those of its training.

Its parameters stay as trained, and what it computes from the features when it is built is computed
from the new ones: neighbours of items, and, in models that are fitted without training, the whole
fit (closed forms read features nowhere else). Means and directions over all items are those of
training, as is what was fitted while training.

Features that were trained themselves move by what was done to the features of the files,
X + (x' - x) for a row x that becomes x'; a row that goes missing or appears takes the value that
the model gives it when it is built.

The discount of popular items can be another one than in training as well.
"""

from __future__ import annotations

import torch
from recbole.utils import init_seed
from torch import Tensor, nn

from recbole_ssr.corruption import Corruption
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.data.features import ItemFeatures
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import Experiment
from recbole_ssr.option import number


def inference_model(experiment: Experiment, model: nn.Module, corruption: Corruption) -> nn.Module:
    """Return a model like `model`, in evaluation mode, whose items have corrupted features.

    `model` holds the trained parameters, on the features that `experiment` was trained on. It is
    returned itself where nothing changes: without features, or with the same corruption.
    """
    config, train = experiment.config, experiment.train._dataset
    same = corruption == Corruption.of(config, stage="training")
    if same or not isinstance(train, MultimodalDataset):
        return model.eval()
    data = train.with_features_of(corruption)
    init_seed(config["seed"], config["reproducibility"])
    other = config.model_class(config, data).to(config["device"])
    trainable = getattr(other, "trained_features", list)()
    built = [X.detach().clone() for X in trainable]
    other.load_state_dict(model.state_dict())
    other.load_other_parameter(model.other_parameter())
    if trainable:
        _move(trainable, built, train.item_features, data.item_features)
    return other.eval()


@torch.no_grad()
def _move(trained: list[Tensor], built: list[Tensor], before: ItemFeatures,
          after: ItemFeatures) -> None:
    """Do to trained features, in place, what was done to the features that they started from."""
    for c, X, start in zip(before.modalities, trained, built, strict=True):
        stays = (before.has_feature(c) & after.has_feature(c))[:, None].to(X.device)
        moved = X + (after.matrix(c) - before.matrix(c)).to(X.device)
        X.copy_(torch.where(stays, moved, start))


def set_discount(experiment: Experiment, value: float) -> None:
    """Give the model of an experiment another `popularity_discount`.

    Raises UserError where the value is none, or the model has no such setting.
    """
    value, model = number(0, 10)("popularity_discount", value), experiment.model
    if not hasattr(model, "popularity_discount"):
        raise UserError(f"popularity_discount={value} has no effect on this run's "
                        f"{experiment.config['model']}; SSR of profile paper has such a setting. "
                        "Leave it out")
    experiment.config["popularity_discount"] = model.popularity_discount = value
    model.drop_encoded()
