"""A user's own data: a table of interactions, and per item texts, pictures or ready vectors."""

from __future__ import annotations

import logging
from pathlib import Path

from recbole_ssr.dataset_prep import steps
from recbole_ssr.dataset_prep.encoders import image_content, text_content
from recbole_ssr.dataset_prep.item_file import write_item_file
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.dataset_prep.own_tables import read_interaction_table, read_item_table
from recbole_ssr.dataset_prep.own_vectors import read_vectors
from recbole_ssr.dataset_prep.prepared import Draft, source_of
from recbole_ssr.dataset_prep.table_rows import open_table
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")


def prepare_own(options: Options) -> Path:
    """Prepare own data; return the dataset's folder. Raises UserError for files with mistakes."""
    encoded = {"text": options.items, "image": options.images}
    for modality in options.vectors or {}:
        if encoded.get(modality):
            raise UserError(f"--vectors has {modality}, which is also to be encoded. Rename the "
                            "vectors or leave one out.")
    with Draft(options.data_path, options.name, options.overwrite) as draft:
        interactions = read_interaction_table(
            options.interactions, user=options.user_column, item=options.item_column,
            time=options.time_column, rating=options.rating_column, label=options.label_column,
        )
        sources = [source_of(options.interactions)]
        # Before the filters: without the last label of a part the default would be another split.
        default = steps.split_of(interactions)
        interactions = steps.filtered(interactions, options, draft)
        interactions = steps.split_into(draft, interactions, options, default=default)
        tokens = list(interactions.item_tokens)
        rows = None
        if options.items:
            table = read_item_table(options.items, item=options.items_key or options.item_column,
                                    text=options.text)
            rows, sources = table.tokens, [*sources, source_of(options.items)]
            text_of = dict(zip(table.tokens, table.texts))
            if not set(tokens) & set(text_of):
                raise UserError(
                    f"{options.items}: none of its {len(text_of):,} items is in "
                    f"{options.interactions}; it has {table.tokens[:3]}, the interactions "
                    f"{tokens[:3]}. Write item ids alike in both."
                )
            left_out = len(set(text_of).difference(tokens))
            if left_out:
                logger.info("%s of %s items of %s have no interaction and are left out",
                            f"{left_out:,}", f"{len(text_of):,}", options.items)
            draft.about["text_columns"] = table.columns
            write_item_file(draft, open_table(options.items), table.key,
                            dict.fromkeys(table.columns, "token_seq"), set(tokens))
            texts = [text_of.get(token, "") for token in tokens]
            steps.encode_into(draft, tokens, text_content(texts, options), options)
        if options.images:
            steps.encode_into(draft, tokens, image_content(options.images, tokens, options),
                              options)
        for modality, file in (options.vectors or {}).items():
            names, matrix = read_vectors(file, rows, (options.items_key, options.item_column))
            steps.copy_matrix(draft, modality, matrix, list(names), interactions.item_tokens,
                              Path(file))
            sources.append(source_of(file))
        if "features" not in draft.about:
            logger.warning("%s has no item features: SSR needs some (--items, --images or "
                           "--vectors); models such as LightGCN run without", options.name)
        draft.about["sources"] = sources
        return steps.finish(draft, interactions, options)
