"""One door to all preparations."""

from __future__ import annotations

from pathlib import Path

from recbole_ssr.contributions import RECIPES
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.errors import UserError, nearest

_RECIPES = ("amazon",)
# Options that mean something to every preparation, and those of each kind.
_COMMON = {"name", "data_path", "overwrite", "no_download", "cache_dir", "split", "split_seed",
           "batch_size", "device", "show_progress", "min_interactions"}
_OF_SPLIT = {"name", "split", "split_seed", "min_interactions"}
_ENCODED = {"images", "text_encoder", "image_encoder"}
_OF_IMPORT = {"source", "path", "modalities"}
_OF_OWN = _ENCODED | {"interactions", "items", "items_key", "text", "vectors", "user_column",
                      "item_column", "time_column", "rating_column", "label_column", "min_rating"}
_OF_NEW = _ENCODED | {"like", "out", "items", "items_key", "item_column", "text"}
_OF_RECIPE = _ENCODED | {"raw", "recipe", "category", "reviews_url", "meta_url", "images_url",
                         "modalities", "expected", "min_rating"}

# Options that mean nothing without another one, where a preparation has that.
_NEEDS = {"items_key": ("items", "vectors"), "text": ("items",), "text_encoder": ("items",),
          "image_encoder": ("images",)}


def prepare(options: Options) -> Path:
    """Make the dataset that the options describe; return its folder, whole or not at all.

    With ``like`` it is the folder of features of new items.

    Raises UserError for whatever the user can put right.
    """
    if options.path or options.source:
        if not options.path:
            raise UserError(f"--from={options.source} needs the folder to import: recbole-ssr "
                            f"prepare --from={options.source} PATH --name=NAME")
        _need_name(options, Path(options.path).resolve().name)
        _check_effect(options, _OF_IMPORT, "the import of a published folder")
        from recbole_ssr.dataset_prep.imported import prepare_imported

        return prepare_imported(options)
    if options.interactions:
        _need_name(options, Path(options.interactions).name.split(".")[0])
        _check_effect(options, _OF_OWN, "own data")
        from recbole_ssr.dataset_prep.own import prepare_own

        return prepare_own(options)
    if options.like:
        _check_effect(options, _OF_NEW, "features of new items", _COMMON - _OF_SPLIT)
        from recbole_ssr.dataset_prep.new_items import encode_new_items

        return encode_new_items(options)
    if options.recipe is None:
        raise UserError("Nothing to prepare: name a dataset (recbole-ssr prepare amazon-sports), a "
                        "published folder (--from=mmrec PATH --name=NAME) or own data "
                        "(--interactions=FILE --name=NAME).")
    recipes = (*_RECIPES, *RECIPES)
    if options.recipe not in recipes:
        raise UserError(f"There is no recipe {options.recipe!r}, only {', '.join(recipes)}."
                        f"{nearest(options.recipe, recipes)}")
    if options.recipe in RECIPES:
        folder = RECIPES[options.recipe].function(options)
        if not isinstance(folder, Path):
            raise UserError(f"The recipe {options.recipe} returned {folder!r}, not the folder that "
                            "it has written.")
        return folder
    _check_effect(options, _OF_RECIPE, options.name)
    from recbole_ssr.dataset_prep.amazon import prepare_amazon

    return prepare_amazon(options)


def _check_effect(options: Options, of_kind: set[str], what: str,
                  common: set[str] = _COMMON) -> None:
    """Raise UserError for an option that this kind of preparation would pass over in silence."""
    defaults = Options()
    for key, value in vars(options).items():
        if key not in common | of_kind and value != getattr(defaults, key):
            raise UserError(f"--{key} has no effect on {what}. Leave it out; recbole-ssr prepare "
                            "--help says what belongs together.")
    for key, needs in _NEEDS.items():
        given = [getattr(options, needed) for needed in needs]
        if needs[0] in of_kind and getattr(options, key) and not any(given):
            needed = " or ".join(f"--{needed}" for needed in needs)
            raise UserError(f"--{key} has no effect without {needed}. Give {needed}, or leave "
                            f"--{key} out.")


def _need_name(options: Options, suggestion: str) -> None:
    if not options.name:
        raise UserError(f"The dataset needs a name: --name={suggestion}")
