"""Terminal tables of what a trained SSR model does with its bands. They fit 100 columns."""

from __future__ import annotations

import math

from rich.markup import escape
from rich.table import Table

from recbole_ssr.report.diagnosis.record import Diagnosis

_GAINS_AT = (0.0, 0.5, 1.0, 1.5, 2.0)  # eigenvalues to show a filter's gain at
_STRONGEST = 4  # connections between slots to name per side
_COLOURS = {"seen": "green", "not seen": "red", "not applicable": "dim"}


def tables(diagnosis: Diagnosis) -> list[Table]:
    """Return every table for which there are figures, the claims last."""
    found = [energy_table(diagnosis), spectrum_table(diagnosis)]
    if diagnosis.mixing:
        found += [mixing_table(diagnosis), gate_table(diagnosis)]
    if len(diagnosis.modalities) > 1:
        found.append(agreement_table(diagnosis))
    found.append(stability_table(diagnosis))
    if diagnosis.ablation:
        found.append(ablation_table(diagnosis))
    return [*found, claims_table(diagnosis)]


def energy_table(diagnosis: Diagnosis) -> Table:
    """One row per side and modality, one column per band."""
    table = _table("Energy: how the signal of each modality is shared out among the bands",
                   "", "modality", *diagnosis.bands)
    for side, shares in diagnosis.energy.items():
        for c, name in enumerate(diagnosis.modalities):
            table.add_row("" if c else side, escape(name),
                          *(f"{row[c]:.1%}" for row in shares),
                          end_section=c == len(diagnosis.modalities) - 1)
    return table


def spectrum_table(diagnosis: Diagnosis) -> Table:
    """One row per band: its interval of the spectrum, and its filter's gain here and there."""
    spectrum = diagnosis.spectrum
    table = _table(
        f"Filters ({diagnosis.band_filter}): gain at frequencies from 0 (smooth: linked users and "
        "items alike) to 2 (rough: they differ)",
        "band", "from", "to", *(f"gain\nat {x:g}" for x in _GAINS_AT))
    ends = [0.0, *spectrum.borders, 2.0]
    last = len(spectrum.eigenvalues) - 1
    for m, (band, gains) in enumerate(zip(diagnosis.bands, spectrum.responses)):
        table.add_row(band, _number(ends[m], ".3f"), _number(ends[m + 1], ".3f"),
                      *(_number(gains[round(x / 2 * last)], ".2f") for x in _GAINS_AT))
    return table


def mixing_table(diagnosis: Diagnosis) -> Table:
    """Shares of the operator's weights, and its strongest connections between slots."""
    table = _table(
        "Mixing: where the weights of the operator go, and its strongest connections",
        "", "stay", "to other\nbands", "to other\nmodalities", "to\nboth", "strongest")
    table.columns[-1].justify = "left"
    for side, mixing in diagnosis.mixing.items():
        shares = [f"{share:.1%}" for share in mixing.shares.values()]
        table.add_row(side, *shares, "\n".join(_strongest(diagnosis.slots, mixing.matrix)),
                      end_section=True)
    return table


def _strongest(slots: list[str], matrix: list[list[float]]) -> list[str]:
    cross = [(weight, slots[source], slots[to]) for to, row in enumerate(matrix)
             for source, weight in enumerate(row) if source != to]
    cross.sort(key=lambda entry: -abs(entry[0]))
    return [f"{weight:+.3f} {escape(source)} > {escape(to)}"
            for weight, source, to in cross[:_STRONGEST]]


def gate_table(diagnosis: Diagnosis) -> Table:
    """One row per group of users and modality, one column per band."""
    table = _table(
        "Gate: factor on each band of a user (1: as it is, 0: closed), and in brackets the band's "
        "share of what reaches the user's embedding",
        "training\ninteractions", "modality", *diagnosis.bands)
    for group in diagnosis.gate:
        for c, name in enumerate(diagnosis.modalities):
            cells = (f"{g[c]:.2f} ({w[c]:.0%})" for g, w in zip(group.gate, group.weight))
            first = group.name if not c else f"({group.users:,} users)" if c == 1 else ""
            if len(diagnosis.modalities) == 1:
                first = f"{group.name}\n({group.users:,} users)"
            table.add_row(first, escape(name), *cells,
                          end_section=c == len(diagnosis.modalities) - 1)
    return table


def agreement_table(diagnosis: Diagnosis) -> Table:
    """One row per pair of modalities, one column per band."""
    table = _table(
        "Agreement: mean cosine of two modalities of the same item / of two different items",
        "modalities", *diagnosis.bands)
    same, other = diagnosis.agreement.same_item, diagnosis.agreement.other_item
    names = diagnosis.modalities
    for a, first in enumerate(names):
        for b in range(a + 1, len(names)):
            table.add_row(escape(f"{first} and {names[b]}"),
                          *(f"{_number(s[a][b], '.3f')} / {_number(o[a][b], '.3f')}"
                            for s, o in zip(same, other)))
    return table


def stability_table(diagnosis: Diagnosis) -> Table:
    """One row per side and modality, one column per band."""
    stability = diagnosis.stability
    table = _table(
        f"Stability: mean cosine of a band before and after dropping {stability.dropped:.0%} of "
        "the training interactions",
        "", "modality", *diagnosis.bands)
    for side in ("users", "items"):
        for c, name in enumerate(diagnosis.modalities):
            table.add_row("" if c else side, escape(name),
                          *(_number(row[c], ".3f") for row in getattr(stability, side)),
                          end_section=c == len(diagnosis.modalities) - 1)
    return table


def ablation_table(diagnosis: Diagnosis) -> Table:
    """One row per variant; recall and NDCG of all users, recall by group of users."""
    ablation, k = diagnosis.ablation, diagnosis.ablation.k
    groups = ablation.variants[0].groups
    by_activity = [name for name in groups if name != "all"]
    if len(by_activity) < 2:
        by_activity = []  # one group is everyone
    table = _table(
        f"What each part is worth ({diagnosis.part} part, {groups['all']['users']:,} users): "
        "change against everything with its standard error; last, users by training interactions",
        "", f"Recall\n@{k}", "change", f"NDCG\n@{k}", "change",
        *(f"Recall\n{name}\n({groups[name]['users']:,})" for name in by_activity))
    for n, variant in enumerate(ablation.variants):
        cells = []
        for metric in ("recall", "ndcg"):
            change = f"{variant.change[metric]:+.4f} ±{variant.error[metric]:.4f}"
            cells += [f"{variant.groups['all'][metric]:.4f}", change if n else ""]
        cells += [f"{variant.groups[name]['recall']:.4f}" for name in by_activity]
        following = ablation.variants[n + 1 : n + 2]
        kind = variant.name.partition(" ")[0]
        ends = any(v.name.partition(" ")[0] != kind for v in following)
        table.add_row(escape(variant.name), *cells, end_section=ends)
    return table


def claims_table(diagnosis: Diagnosis) -> Table:
    """One row per claim of the paper: what was measured, what decides, the verdict."""
    table = _table("Claims of the paper, on this run", "claim", "measured, and what decides",
                   "verdict")
    table.columns[1].justify, table.columns[1].ratio = "left", 1
    table.columns[0].width, table.columns[2].width = 22, 14
    table.expand = True
    for claim in diagnosis.claims:
        table.add_row(
            claim.claim, f"{escape(claim.evidence)}\n[dim]Seen if {escape(claim.criterion)}.[/dim]",
            f"[{_COLOURS[claim.verdict]}]{claim.verdict}[/]", end_section=True)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_edge=False,
                  pad_edge=False)
    for k, name in enumerate(columns):
        text = not k or name == "modality"
        table.add_column(escape(name), justify="left" if text else "right")
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:{form}}"
