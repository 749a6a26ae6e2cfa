"""The paper's claims about bands, decided by what one run measured.

A cosine that is nan belongs to a band without modes: one large eigenspace may leave it empty.
"""

from __future__ import annotations

import math
from statistics import fmean, variance

from recbole_ssr.report.diagnosis.record import Ablation, Agreement, Claim, Stability

SEEN, NOT_SEEN, NOT_APPLICABLE = "seen", "not seen", "not applicable"
# Above this mean cosine of different items in one modality a band is one direction for all items.
_ONE_DIRECTION = 0.99
ERRORS = 2  # a difference counts if it is larger than this many standard errors


def low_is_stable(bands: list[str], stability: Stability, agreement: Agreement) -> Claim:
    """Low bands hold what does not depend on single interactions."""
    claim = "Low bands are stable"
    criterion = (
        f"after dropping a random {stability.dropped:.0%} of the training interactions (seed "
        f"{stability.seed}), an item's low band is nearer to what it was (mean cosine over items "
        "and modalities) than any other band"
    )
    if len(bands) < 2:
        return Claim(claim, criterion, "one band only", NOT_APPLICABLE)
    by_band = [mean(row) for row in stability.items]
    evidence = f"cosine before and after: {_list(bands, by_band)}"
    if math.isnan(by_band[0]):
        return Claim(claim, criterion, "the low band is empty", NOT_APPLICABLE)
    if _likeness(agreement) > _ONE_DIRECTION:
        evidence += f"; no wonder, as {_alike(agreement)}"
    others = max(_known(by_band[1:]), default=-1)
    return Claim(claim, criterion, evidence, _verdict(by_band[0] > others))


def mid_is_shared(bands: list[str], agreement: Agreement) -> Claim:
    """Modalities differ where items are smooth and agree in the middle of the spectrum."""
    claim = "Low bands are specific to a modality, mid bands are shared by modalities"
    criterion = (
        "the modalities of the same item agree more in the mid bands than in the low band (mean "
        "cosine over pairs of modalities, less that of different items)"
    )
    if len(bands) < 3 or len(agreement.same_item[0]) < 2:
        return Claim(claim, criterion, "needs 3 bands and 2 modalities", NOT_APPLICABLE)
    if _likeness(agreement) > _ONE_DIRECTION:
        evidence = f"{_alike(agreement)}, so that modalities cannot agree on an item there"
        return Claim(claim, criterion, evidence, NOT_APPLICABLE)
    excess = [pair_mean(same) - pair_mean(other)
              for same, other in zip(agreement.same_item, agreement.other_item)]
    evidence, mid = f"agreement beyond chance: {_list(bands, excess)}", mean(excess[1:-1])
    if math.isnan(excess[0] + mid):
        return Claim(claim, criterion, f"{evidence}; an empty band", NOT_APPLICABLE)
    return Claim(claim, criterion, evidence, _verdict(mid > excess[0]))


def high_is_discriminative_but_noisy(
    bands: list[str], stability: Stability, ablation: Ablation | None
) -> Claim:
    """High bands help the ranking and are the first to change."""
    claim = "High bands are discriminative but noisy"
    k = ablation.k if ablation else 0
    criterion = (
        f"without the high band Recall@{k} falls by more than {ERRORS} standard errors, and the "
        "high band is the least stable one"
    )
    if len(bands) < 2:
        return Claim(claim, criterion, "one band only", NOT_APPLICABLE)
    if ablation is None:
        return Claim(claim, criterion.replace("@0", ""), "needs profile paper", NOT_APPLICABLE)
    by_band = [mean(row) for row in stability.items]
    variant = next((v for v in ablation.variants if v.name == f"without {bands[-1]}"), None)
    if variant is None or math.isnan(by_band[-1]):
        return Claim(claim, criterion, "the high band or all others are empty", NOT_APPLICABLE)
    change, error = variant.change["recall"], variant.error["recall"]
    helps, noisy = change < -ERRORS * error, by_band[-1] < min(_known(by_band[:-1]), default=1)
    return Claim(
        claim, criterion,
        f"Recall@{k} without high: {change:+.4f}, standard error {error:.4f} "
        f"({'discriminative' if helps else 'not discriminative'}); stability "
        f"{_list(bands, by_band)} ({'noisy' if noisy else 'not the noisiest'})",
        _verdict(helps and noisy),
    )


def cold_users_lean_on_low_and_mid(
    bands: list[str], cold: list[float], others: list[float], most: int
) -> Claim:
    """Users of whom little is known are described by their smooth bands.

    Args:
        cold, others: of every user with at most `most` training interactions, and of every other,
            the share of the bands below the high one in the norms of the gated bands.
    """
    claim = "Users with few interactions lean on low and mid bands"
    criterion = (
        f"low and mid bands have a larger share in the gated bands (gate x norm) of users with at "
        f"most {most} training interactions than of the others, by more than {ERRORS} standard "
        "errors"
    )
    if len(bands) < 3:
        return Claim(claim, criterion, "needs 3 bands", NOT_APPLICABLE)
    if min(len(cold), len(others)) < 2:
        few = f"{len(cold)} users with at most {most} interactions, {len(others)} others"
        return Claim(claim, criterion, few, NOT_APPLICABLE)
    a, b = fmean(cold), fmean(others)
    error = (variance(cold) / len(cold) + variance(others) / len(others)) ** 0.5
    return Claim(
        claim, criterion,
        f"share of low and mid: {a:.3f} for {len(cold):,} users with at most {most}, {b:.3f} for "
        f"{len(others):,} others, standard error {error:.4f}",
        _verdict(a - b > ERRORS * error),
    )


def _likeness(agreement: Agreement) -> float:
    """Mean cosine of different items in the low band of one modality."""
    return mean([row[c] for c, row in enumerate(agreement.other_item[0])])


def _alike(agreement: Agreement) -> str:
    return (f"the low band is one direction for all items (cosine of different items "
            f"{_likeness(agreement):.3f})")


def pair_mean(cosines: list[list[float | None]]) -> float:
    """Mean over pairs of different modalities. Shapes: cosines (C, C)."""
    C = len(cosines)
    return mean([cosines[a][b] for a in range(C) for b in range(a + 1, C)])


def mean(values: list[float | None]) -> float:
    """Mean of the values that were measured, nan without any."""
    known = _known(values)
    return fmean(known) if known else math.nan


def _known(values: list[float | None]) -> list[float]:
    return [v for v in values if v is not None and not math.isnan(v)]


def _list(bands: list[str], values: list[float]) -> str:
    return ", ".join(f"{band} {'empty' if math.isnan(value) else f'{value:.3f}'}"
                     for band, value in zip(bands, values))


def _verdict(holds: bool) -> str:
    return SEEN if holds else NOT_SEEN
