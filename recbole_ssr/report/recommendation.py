"""Terminal table of recommendations."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.markup import escape
from rich.table import Table


def recommendation_table(found: pd.DataFrame, titles: Sequence[str], title: str) -> Table:
    """One row per user and item. `titles` has the item's title for every row of `found`."""
    table = Table(title=escape(title), title_justify="left", title_style="", show_edge=False,
                  pad_edge=False)
    table.add_column("user")
    table.add_column("rank", justify="right")
    table.add_column("item")
    if any(titles):
        table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=60)
    table.add_column("score", justify="right")
    previous = None
    users = found["user"].tolist()
    for row, (user, name) in enumerate(zip(users, titles)):
        item, rank, score = (found[column].iloc[row] for column in ("item", "rank", "score"))
        last = row + 1 == len(users) or users[row + 1] != user
        table.add_row(escape(user) if user != previous else "", str(rank), escape(item),
                      *([escape(name)] if any(titles) else []),
                      "popular" if pd.isna(score) else f"{score:.4f}", end_section=last)
        previous = user
    return table
