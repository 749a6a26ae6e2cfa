"""Tables of what a trained SSR model does with its bands."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from recbole_ssr.report.diagnosis.record import Diagnosis
from recbole_ssr.report.sheet import (
    BAD,
    GOOD,
    PALE,
    PROSE,
    TEXT,
    Cell,
    Column,
    Sheet,
    ends_of,
    number,
)

_GAINS_AT = (0.0, 0.5, 1.0, 1.5, 2.0)  # eigenvalues to show a filter's gain at
_STRONGEST = 4  # connections between slots to name per side
_MARKS = {"seen": GOOD, "not seen": BAD, "not applicable": PALE}
_MODALITY = Column("modality", TEXT)
_sheet = partial(Sheet, small=True)


def tables(diagnosis: Diagnosis) -> list[Sheet]:
    """Return every table for which there are figures, the claims last."""
    shown = [energy_table(diagnosis), spectrum_table(diagnosis)]
    if diagnosis.mixing:
        shown.append(mixing_table(diagnosis))
    if diagnosis.gate:
        shown.append(gate_table(diagnosis))
    if len(diagnosis.modalities) > 1:
        shown.append(agreement_table(diagnosis))
    shown.append(stability_table(diagnosis))
    if diagnosis.ablation:
        shown.append(ablation_table(diagnosis))
    return [*shown, claims_table(diagnosis)]


def energy_table(diagnosis: Diagnosis) -> Sheet:
    """One row per side and modality, one column per band."""
    return _by_side("Energy: how the signal of each modality is shared out among the bands",
                    diagnosis, lambda side, c: (f"{row[c]:.1%}" for row in diagnosis.energy[side]))


def stability_table(diagnosis: Diagnosis) -> Sheet:
    """One row per side and modality, one column per band."""
    stability = diagnosis.stability
    return _by_side(
        f"Stability: mean cosine of a band before and after dropping {stability.dropped:.0%} of "
        "the training interactions", diagnosis,
        lambda side, c: (number(row[c], ".3f") for row in getattr(stability, side)))


def _by_side(title: str, diagnosis: Diagnosis, values: Callable) -> Sheet:
    rows = [("" if c else side, name, *values(side, c))
            for side in ("users", "items") for c, name in enumerate(diagnosis.modalities)]
    return _sheet(title, ("", _MODALITY, *diagnosis.bands), rows, ends=ends_of(rows))


def spectrum_table(diagnosis: Diagnosis) -> Sheet:
    """One row per band: its interval of the spectrum, and its filter's gain here and there."""
    spectrum = diagnosis.spectrum
    ends = [0.0, *spectrum.borders, 2.0]
    last = len(spectrum.eigenvalues) - 1
    rows = [(band, number(ends[m], ".3f"), number(ends[m + 1], ".3f"),
             *(number(gains[round(x / 2 * last)], ".2f") for x in _GAINS_AT))
            for m, (band, gains) in enumerate(zip(diagnosis.bands, spectrum.responses))]
    return _sheet(
        f"Filters ({diagnosis.band_filter}): gain at frequencies from 0 (smooth: linked users and "
        "items alike) to 2 (rough: they differ)",
        ("band", "from", "to", *(f"gain\nat {x:g}" for x in _GAINS_AT)), rows)


def mixing_table(diagnosis: Diagnosis) -> Sheet:
    """Shares of the operator's weights, and its strongest connections between slots."""
    rows = [(side, *(f"{share:.1%}" for share in mixing.shares.values()),
             "\n".join(_strongest(diagnosis.slots, mixing.matrix)))
            for side, mixing in diagnosis.mixing.items()]
    return _sheet("Mixing: where the weights of the operator go, and its strongest connections",
                  ("", "stay", "to other\nbands", "to other\nmodalities", "to\nboth",
                   Column("strongest", TEXT)), rows, ends=ends_of(rows))


def _strongest(slots: list[str], matrix: list[list[float]]) -> list[str]:
    cross = [(weight, slots[source], slots[to]) for to, row in enumerate(matrix)
             for source, weight in enumerate(row) if source != to]
    cross.sort(key=lambda entry: -abs(entry[0]))
    return [f"{weight:+.3f} {source} > {to}" for weight, source, to in cross[:_STRONGEST]]


def gate_table(diagnosis: Diagnosis) -> Sheet:
    """One row per group of users and modality, one column per band."""
    rows, n = [], len(diagnosis.modalities)
    for group in diagnosis.gate:
        first = [group.name, f"({group.users:,} users)", *[""] * (n - 2)]
        if n == 1:
            first = ["\n".join(first)]
        rows += [(head, name, *(f"{g[c]:.2f} ({w[c]:.0%})"
                                for g, w in zip(group.gate, group.weight)))
                 for c, (head, name) in enumerate(zip(first, diagnosis.modalities))]
    return _sheet(
        "Gate: factor on each band of a user (1: as it is, 0: closed), and in brackets the band's "
        "share of what reaches the user's embedding",
        ("training\ninteractions", _MODALITY, *diagnosis.bands), rows,
        ends=range(n - 1, len(rows), n))


def agreement_table(diagnosis: Diagnosis) -> Sheet:
    """One row per pair of modalities, one column per band."""
    same, other = diagnosis.agreement.same_item, diagnosis.agreement.other_item
    names = diagnosis.modalities
    rows = [(f"{first} and {names[b]}", *(f"{number(s[a][b], '.3f')} / {number(o[a][b], '.3f')}"
                                          for s, o in zip(same, other)))
            for a, first in enumerate(names) for b in range(a + 1, len(names))]
    return _sheet(
        "Agreement: mean cosine of two modalities of the same item / of two different items",
        ("modalities", *diagnosis.bands), rows)


def ablation_table(diagnosis: Diagnosis) -> Sheet:
    """One row per variant; recall and NDCG of all users, recall by group of users."""
    ablation, k = diagnosis.ablation, diagnosis.ablation.k
    groups = ablation.variants[0].groups
    by_activity = [name for name in groups if name != "all"]
    if len(by_activity) < 2:
        by_activity = []  # one group is everyone
    rows = []
    for n, variant in enumerate(ablation.variants):
        of_all = []
        for metric in ("recall", "ndcg"):
            change = f"{variant.change[metric]:+.4f} ±{variant.error[metric]:.4f}"
            of_all += [f"{variant.groups['all'][metric]:.4f}", change if n else ""]
        rows.append((variant.name, *of_all,
                     *(f"{variant.groups[name]['recall']:.4f}" for name in by_activity)))
    kinds = [variant.name.partition(" ")[0] for variant in ablation.variants]
    return _sheet(
        f"What each part is worth ({diagnosis.part} part, {groups['all']['users']:,} users): "
        "change against everything with its standard error; last, users by training interactions",
        ("", f"Recall\n@{k}", "change", f"NDCG\n@{k}", "change",
         *(f"Recall\n{name}\n({groups[name]['users']:,})" for name in by_activity)), rows,
        ends=tuple(k for k, pair in enumerate(zip(kinds, kinds[1:])) if pair[0] != pair[1]))


def claims_table(diagnosis: Diagnosis) -> Sheet:
    """One row per claim of the paper: what was measured, what decides, the verdict."""
    rows = [(claim.claim, Cell(claim.evidence, below=f"Seen if {claim.criterion}."),
             Cell(claim.verdict, _MARKS[claim.verdict])) for claim in diagnosis.claims]
    return _sheet("Claims of the paper, on this run",
                  (Column("claim", TEXT, width=22), Column("measured, and what decides", PROSE),
                   Column("verdict", width=14)), rows, ends=ends_of(rows))
