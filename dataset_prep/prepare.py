"""One door to all preparations."""

from __future__ import annotations

from pathlib import Path

from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.errors import UserError, nearest

_RECIPES = ("amazon",)


def prepare(options: Options) -> Path:
    """Make the dataset that the options describe; return its folder, whole or not at all.

    Raises UserError for whatever the user can put right.
    """
    if options.path or options.source:
        if not options.path:
            raise UserError(f"--from={options.source} needs the folder to import: recbole-ssr "
                            f"prepare --from={options.source} PATH --name=NAME")
        _need_name(options, Path(options.path).resolve().name)
        from recbole_ssr.dataset_prep.imported import prepare_imported

        return prepare_imported(options)
    if options.interactions:
        _need_name(options, Path(options.interactions).name.split(".")[0])
        from recbole_ssr.dataset_prep.own import prepare_own

        return prepare_own(options)
    if options.recipe is None:
        raise UserError("Nothing to prepare: name a dataset (recbole-ssr prepare amazon-sports), a "
                        "published folder (--from=mmrec PATH --name=NAME) or own data "
                        "(--interactions=FILE --name=NAME).")
    if options.recipe not in _RECIPES:
        raise UserError(f"There is no recipe {options.recipe!r}, only {', '.join(_RECIPES)}."
                        f"{nearest(options.recipe, _RECIPES)}")
    from recbole_ssr.dataset_prep.amazon import prepare_amazon

    return prepare_amazon(options)


def _need_name(options: Options, suggestion: str) -> None:
    if not options.name:
        raise UserError(f"The dataset needs a name: --name={suggestion}")
