"""The table of recommendations."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from recbole_ssr.report.sheet import TEXT, Column, Sheet, ends_of, shortened

_LONGEST = 60  # letters of a title


def recommendation_table(ranked: pd.DataFrame, titles: Sequence[str], title: str) -> Sheet:
    """One row per user and item. `titles` has the item's title for every row of `ranked`."""
    repeated = ranked["user"].eq(ranked["user"].shift())
    rows = [("" if again else user, str(rank), item,
             *([shortened(name, _LONGEST)] if any(titles) else []),
             "popular" if pd.isna(score) else f"{score:.4f}")
            for again, user, rank, item, name, score in zip(
                repeated, ranked["user"], ranked["rank"], ranked["item"], titles, ranked["score"])]
    columns = ("user", "rank", Column("item", TEXT),
               *([Column("title", TEXT)] if any(titles) else []), "score")
    return Sheet(title, columns, rows, ends=ends_of(rows), small=True)
