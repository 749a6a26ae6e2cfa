"""Which items an evaluation leaves out of a user's ranking, where RecBole's rule is not meant.

RecBole leaves out, at validation, the items that the user has in training and, at test, those in
training or validation; the items to be found never. Two settings change what it would do.

`test_masking: train` leaves validation items in the ranking at test, as the protocol of MMRec does
(https://github.com/enoche/MMRec). With a `train_share` below 1 the model has seen a part of the
training interactions, but the ranking leaves out all of them, so that every share ranks the same
candidates; as negatives, the interactions that the model has not seen may be drawn.
"""

from __future__ import annotations

from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_ssr.data.used_items import UsedItems
from recbole_ssr.errors import UserError

EXCLUSIONS = ("train and valid", "train")


def apply_exclusion(config, dataset, valid, test) -> None:
    """Change what the loaders of a split leave out, as `test_masking` and `train_share` say.

    `dataset` has been built. Raises UserError where a setting cannot be honoured.
    """
    share, validation_too = config["train_share"], config["test_masking"] in (None, EXCLUSIONS[0])
    if share in (None, 1) and validation_too:
        return
    if share not in (None, 1) and not hasattr(dataset, "full_train"):
        raise UserError(f"train_share is {share}, but {config['model']} splits its data in its own "
                        "way; set train_share to 1")
    if not validation_too:
        _check_ranking(config, test)
    if config["repeatable"]:
        return  # nothing is left out
    train = _items_by_user(dataset.full_train, dataset)
    _set_used(valid, train)
    _set_used(test, train, anew=not validation_too)


def _check_ranking(config, test) -> None:
    mode = config["eval_args"]["mode"]["test"]
    if not isinstance(test, FullSortEvalDataLoader) or test.is_sequential or config["repeatable"]:
        raise UserError(
            f"test_masking is {config['test_masking']!r}, which is for full ranking without "
            f"repeated items only; {config['model']} has mode {mode!r}, repeatable "
            f"{config['repeatable']}. Set test_masking to {EXCLUSIONS[0]!r}."
        )


def _items_by_user(interactions, dataset) -> UsedItems:
    pairs = (interactions[field].numpy() for field in (dataset.uid_field, dataset.iid_field))
    return UsedItems(*pairs, dataset.user_num, dataset.item_num)


def _set_used(loader, train: UsedItems, anew: bool = False) -> None:
    """Add the items in training to those that a loader avoids, or put them in place.

    A loader for full ranking looks there at every batch.
    """
    sampler = loader._sampler
    sampler.used_ids = train if anew else sampler.used_ids | train
