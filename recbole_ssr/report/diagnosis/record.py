"""The record of what a trained SSR model does with its bands: one json file."""

from __future__ import annotations

from dataclasses import dataclass

FILE = "diagnosis.json"


@dataclass(frozen=True)
class Claim:
    """One claim of the paper, what decides it and what was measured.

    `verdict` is "seen", "not seen" or "not applicable".
    """

    claim: str
    criterion: str
    evidence: str
    verdict: str


@dataclass(frozen=True)
class Variant:
    """Metrics with some bands or modalities left out.

    `metrics` are those of the run, over all users. `groups` has recall and ndcg at `Ablation.k`
    and the number of users, by group of users. `change` is the mean over all users of a metric
    minus that with everything, and `error` its standard error over the users.
    """

    name: str
    metrics: dict[str, float]
    groups: dict[str, dict[str, float]]
    change: dict[str, float]
    error: dict[str, float]


@dataclass(frozen=True)
class Ablation:
    """The first variant leaves nothing out; the cut-off k of the metrics by group."""

    k: int
    variants: list[Variant]


@dataclass(frozen=True)
class ActivityGroup:
    """Users by their training interactions.

    Shapes: gate (M, C), the mean gate of evaluation; weight (M, C), the mean share of the norms of
    gated bands.
    """

    name: str
    users: int
    gate: list[list[float]]
    weight: list[list[float]]


@dataclass(frozen=True)
class Spectrum:
    """Filters and signals over the eigenvalues of the graph's Laplacian, 0 smooth to 2 rough.

    Shapes: eigenvalues (E,); responses (M, E); borders (M - 1,), None where a band is no interval;
    edges (B + 1,) of the histogram; density: by modality (B,), energy per unit of eigenvalue.
    """

    eigenvalues: list[float]
    responses: list[list[float]]
    borders: list[float | None]
    edges: list[float]
    density: dict[str, list[float]]


@dataclass(frozen=True)
class Mixing:
    """The CP operator between slots, band by band and in each all modalities.

    Shapes: matrix (M C, M C), output slot first. `shares` of its weights: stays, crosses_bands,
    crosses_modalities, crosses_both.
    """

    matrix: list[list[float]]
    shares: dict[str, float]


@dataclass(frozen=True)
class Agreement:
    """Mean cosines between modalities of the items, per band. Shapes: both (M, C, C)."""

    same_item: list[list[list[float | None]]]
    other_item: list[list[list[float | None]]]


@dataclass(frozen=True)
class Stability:
    """Mean cosine of a node's band before and after losing a share of the interactions.

    Shapes: users, items (M, C).
    """

    dropped: float
    seed: int
    users: list[list[float | None]]
    items: list[list[float | None]]


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `recbole-ssr diagnose` reports. M bands, C modalities, None: not measured.

    Shapes: energy: by side (M, C), the share of a band in its modality's energy.
    """

    run: str
    dataset: str
    profile: str
    band_filter: str
    part: str
    best_epoch: int
    bands: list[str]
    modalities: list[str]
    energy: dict[str, list[list[float]]]
    spectrum: Spectrum
    mixing: dict[str, Mixing] | None
    gate: list[ActivityGroup] | None
    agreement: Agreement
    stability: Stability
    ablation: Ablation | None
    claims: list[Claim]

    @property
    def slots(self) -> list[str]:
        """Names of band and modality, band-major as rows of `Mixing.matrix`."""
        return [f"{band} {c}" for band in self.bands for c in self.modalities]


def band_names(n_bands: int) -> list[str]:
    """low, mid, high; with more bands mid 1, mid 2 and so on."""
    if n_bands == 1:
        return ["all"]
    inner = n_bands - 2
    return ["low", *(["mid"] if inner == 1 else [f"mid {j + 1}" for j in range(inner)]), "high"]
