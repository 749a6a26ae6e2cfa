"""A protocol in words, all of which come from the result: what was ranked, split, selected on."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Entries of a protocol that follow another toolkit, and what that means.
_PARITY = {
    ("masked", "training items"): "MMRec's masking (validation items are ranked at test)",
    ("stopping_rule", "strict"): "MMRec's patience (ties are no improvement)",
    ("metric_decimal_place", 4): "MMRec's rounding (4 decimals)",
}  # fmt: skip


def protocol_title(protocol: Mapping) -> str:
    """Return the protocol in one line; parity modes are named as such."""
    ranking, validation = protocol.get("ranking", "full"), protocol.get("validation_ranking")
    part = "valid"
    if validation not in (None, ranking):
        part += f", {ranking_words(validation, protocol.get('threshold'))}"
    chosen = protocol.get("selection") or \
        f"selected on {protocol.get('valid_metric', '-')} ({part})"
    ordered = " by time" if protocol.get("order") == "TO" else ""
    title = (f"{ranking_words(ranking, protocol.get('threshold'))}, "
             f"{protocol.get('split', 'split')}{ordered}, {chosen}")
    modes = parity_modes(protocol)
    return title + (f"; PARITY MODE: {', '.join(modes)}" if modes else "")


def ranking_words(mode: str, threshold: Mapping | None = None) -> str:
    """Return what an evaluation mode of RecBole ranks, in words."""
    sampled = re.match(r"(uni|pop)(\d+)$", mode)
    if sampled:
        drawn = " drawn by popularity" if sampled[1] == "pop" else ""
        return f"ranking among {int(sampled[2]):,} sampled negatives{drawn}"
    if mode == "labeled":
        return "labelled interactions alone" + threshold_words(threshold, " ({})")
    return f"{mode} ranking"


def threshold_words(threshold: Mapping | None, form: str = "{}") -> str:
    """Return which interactions have the label 1, in `form`; empty without a threshold."""
    if not threshold:
        return ""
    return form.format(", ".join(f"{column} from {value:g}" for column, value in threshold.items()))


def parity_modes(protocol: Mapping) -> list[str]:
    """Return what in a protocol follows another toolkit: such results compare with no others."""
    return [name for (key, value), name in _PARITY.items() if protocol.get(key) == value]
