"""What a table says of items: `<name>.item` beside the interactions, as RecBole names columns.

Titles and the filters of recommendations come from it. Runs do not read it: `load_col` of a
prepared dataset names columns of interactions alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Container, Mapping
from pathlib import Path

from recbole_ssr.dataset_prep.mmrec import ITEMS, header_of
from recbole_ssr.dataset_prep.own_vectors import is_index
from recbole_ssr.dataset_prep.prepared import Draft
from recbole_ssr.dataset_prep.table_rows import Table, open_table

logger = logging.getLogger("recbole_ssr")

# The name of the item column in prepared datasets.
_ITEM = "item_id"


def write_item_file(draft: Draft, table: Table, item: str, kinds: Mapping[str, str],
                    known: Container[str]) -> None:
    """Write the columns of a table, for the items in `known` (tokens), each as it is there first.

    Args:
        item: column of the ids.
        kinds: types of columns, as RecBole calls them; others are token, one value in a cell.

    Cells lose line breaks, tabs and repeated blanks, names the characters that a header cannot
    hold. Nothing is written where the table has no column beside its ids.
    """
    names: dict[str, str] = {}
    for column in table.columns:
        name = re.sub(r"[:\s]+", "_", column)
        if column != item and name != _ITEM and not is_index(column):
            names.setdefault(name, column)
    if not names:
        return
    head = [f"{_ITEM}:token", *(f"{name}:{kinds.get(column, 'token')}"
                                for name, column in names.items())]
    written = set()
    with open(draft.folder / f"{draft.name}.item", "w", encoding="utf-8", newline="") as file:
        file.write("\t".join(head) + "\n")
        for _, (token, *cells) in table.rows([item, *names.values()], [item]):
            if token in known and token not in written:
                written.add(token)
                # JSON can hold lone surrogates, which no file of UTF-8 can.
                line = "\t".join([token, *(" ".join(cell.split()) for cell in cells)])
                file.write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
    logger.info("%s.item: %s of %s items, for titles and filters", draft.name, f"{len(written):,}",
                f"{draft.about['items']:,}")


def copy_item_file(draft: Draft, path: Path, known: Container[str]) -> bool:
    """Write an .item file of RecBole's with its types, for the items in `known`; tell if it was.

    One without a column of item ids is left out with a warning.
    """
    if not path.is_file():
        return False
    kinds = {name: kind or "token" for name, _, kind in
             (column.partition(":") for column in header_of(path))}
    item = next((name for name in ITEMS if name in kinds), None)
    if item is None:
        logger.warning("%s is left out: it has no column %s:token", path, _ITEM)
        return False
    write_item_file(draft, open_table(path), item, kinds, known)
    return True
