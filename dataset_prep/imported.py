"""A folder that others published, with its own split, as a dataset of this package."""

from __future__ import annotations

import logging
from pathlib import Path

from recbole_ssr.dataset_prep import steps
from recbole_ssr.dataset_prep.item_file import copy_item_file
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.dataset_prep.prepared import Draft, source_of
from recbole_ssr.dataset_prep.published import read_published, remarks
from recbole_ssr.dataset_prep.splits import read_split
from recbole_ssr.errors import UserError, nearest

logger = logging.getLogger("recbole_ssr")

# Rules of the splits that keep published labels.
_OF_LABELS = ("published", "published-test")


def prepare_imported(options: Options) -> Path:
    """Import the folder ``path``; return the dataset's folder.

    The published split is kept as it is, with every interaction, unless another is asked for or
    has to be drawn; repeated pairs are then dropped. Raises UserError for a folder that is none of
    the known layouts, or damaged.
    """
    if options.min_interactions:
        raise UserError("--min_interactions would change a published dataset. Leave it out.")
    kind = None if options.source in (None, "auto") else options.source
    needs_label = not options.split or read_split(options.split).rule in _OF_LABELS
    with Draft(options.data_path, options.name, options.overwrite) as draft:
        published = read_published(options.path, kind, needs_label)
        interactions, notes = published.interactions, published.notes
        default = steps.split_of(interactions)
        if read_split(options.split or default).rule == "published":  # another drops repeats
            notes = [*notes, *remarks(interactions)]
        for note in notes:
            logger.info("%s", note)
        interactions = steps.split_into(draft, interactions, options, default)
        sources = published.sources
        if published.kind == "recbole":
            about_items = sources[0].with_suffix(".item")
            if copy_item_file(draft, about_items, set(interactions.item_tokens)):
                sources = [*sources, about_items]
        for modality in options.modalities or ():
            if modality not in published.features:
                raise UserError(f"--modalities: {options.path} has no {modality!r}, only "
                                f"{', '.join(published.features) or 'none'}."
                                f"{nearest(modality, published.features)}")
        for modality, feature in published.features.items():
            if options.modalities and modality not in options.modalities:
                continue
            steps.copy_matrix(draft, modality, feature.load(), list(feature.tokens),
                              interactions.item_tokens, feature.path)
        if not published.features:
            logger.warning("%s has no item features: SSR needs some; models such as LightGCN run "
                           "without", options.name)
        draft.about |= {"layout": published.kind, "notes": notes,
                        "sources": [source_of(path) for path in sources]}
        return steps.finish(draft, interactions, options)
