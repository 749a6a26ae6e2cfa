"""The filter bank of a run, from its settings and graph."""

from __future__ import annotations

import importlib
import pkgutil

from recbole_ssr import spectral
from recbole_ssr.contributions import BANKS
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.spectral.exact import MOST_EXACT_NODES
from recbole_ssr.spectral.filter_bank import FilterBank

AUTO = "auto"

for _module in pkgutil.iter_modules(spectral.__path__):  # a bank registers itself in its file
    importlib.import_module(f"{spectral.__name__}.{_module.name}")


def build_bank(config, graph) -> FilterBank:
    """Build the bank that `band_filter` names; factors of the graph come from the cache.

    `auto` is exact where at most `exact_max_nodes` users, or items, have interactions, else
    chebyshev: items that are added without any leave the bank as it was. Raises UserError for
    settings that make no bank.
    """
    kind, known = config["band_filter"], (AUTO, *BANKS)
    if kind not in known:
        raise UserError(
            f"band_filter is {kind!r}; choose one of {', '.join(known)}.{nearest(kind, known)}"
        )
    if kind == AUTO:
        linked = min(int((graph[side].crow_indices().diff() > 0).sum()) for side in ("R", "Rt"))
        small = linked <= config["exact_max_nodes"]
        possible = min(graph.n_users, graph.n_items) <= MOST_EXACT_NODES
        kind = "exact" if small and possible else "chebyshev"
    try:
        bank = BANKS[kind].function(config, graph)
    except ValueError as error:
        raise UserError(str(error)) from None
    if not isinstance(bank, FilterBank):
        raise UserError(f"band_filter {kind} returned {bank!r}, which is no FilterBank")
    if bank.n_bands != config["n_bands"]:
        raise UserError(f"band_filter {kind} has {bank.n_bands} bands, and n_bands is "
                        f"{config['n_bands']}; set n_bands: {bank.n_bands}")
    return bank
