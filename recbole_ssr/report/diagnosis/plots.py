"""Pictures of what a trained SSR model does with its bands."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from recbole_ssr.report.diagnosis.record import Diagnosis
from recbole_ssr.report.pictures import ABOVE, save

ENERGY, SPECTRUM = "diagnosis-energy.png", "diagnosis-spectrum.png"
MIXING, GATE = "diagnosis-mixing.png", "diagnosis-gate.png"
AGREEMENT, ABLATION = "diagnosis-agreement.png", "diagnosis-ablation.png"
_DPI = 110
_OTHER_ITEMS = "the same, of two different items"
_PARTS = {"valid": "validation part", "test": "test part"}
_LEAST_REACH = 0.05  # of a colour scale, so that noise around a constant stays pale


def draw_all(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write every picture that was measured into a folder; return their paths."""
    pictures = {ENERGY: draw_energy, SPECTRUM: draw_spectrum, AGREEMENT: draw_agreement}
    if diagnosis.mixing:
        pictures[MIXING] = draw_mixing
    if diagnosis.gate:
        pictures |= {GATE: draw_gate, ABLATION: draw_ablation}
    return [save(draw(diagnosis), folder / name, _DPI) for name, draw in pictures.items()]


def draw_energy(diagnosis: Diagnosis) -> Figure:
    """Stacked bars: how every modality's energy is shared out among the bands."""
    figure = _figure(9, 1.6 + 0.45 * len(diagnosis.modalities), "Where the energy of each modality "
                     "lies: share of every band", diagnosis)
    figure.get_layout_engine().set(wspace=0.08)  # room between 100 % and 0 %
    for axis, (side, shares) in zip(figure.subplots(1, 2, sharey=True), diagnosis.energy.items()):
        left = np.zeros(len(diagnosis.modalities))
        for band, colour, row in zip(diagnosis.bands, _colours(diagnosis), np.array(shares)):
            axis.barh(diagnosis.modalities, row, left=left, color=colour, label=band)
            for c, (start, width) in enumerate(zip(left, row)):
                if width > 0.07:  # else the number is wider than its bar
                    axis.text(start + width / 2, c, f"{width:.0%}", ha="center", va="center",
                              color=_ink(colour), fontsize="small")
            left += row
        axis.set(xlim=(0, 1), xlabel=f"share of energy, {side}")
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
        axis.legend(**ABOVE, ncols=len(diagnosis.bands))
    axis.invert_yaxis()  # of both: they share it
    return figure


def draw_spectrum(diagnosis: Diagnosis) -> Figure:
    """Filters above, energy of the signals below, over the spectrum."""
    spectrum = diagnosis.spectrum
    figure = _figure(9, 6.4, "What each band lets through, and where the signals have their energy",
                     diagnosis)
    above, below = figure.subplots(2, 1, sharex=True)
    for band, colour, gains in zip(diagnosis.bands, _colours(diagnosis), spectrum.responses):
        above.plot(spectrum.eigenvalues, gains, color=colour, label=band, linewidth=2)
    above.set(ylabel="gain of the filter")
    for k, (c, density) in enumerate(spectrum.density.items()):
        below.stairs(density, spectrum.edges, label=c, color=f"C{k}", linewidth=1.5)
    below.set(ylabel="energy per unit of frequency\n(root scale)", xlim=(0, 2),
              xlabel="frequency on the user-item graph (eigenvalue of its Laplacian)")
    # The lowest frequency often holds most; at a linear scale nothing else could be seen.
    below.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    below.set_ylim(0, None)
    for x, text, side in ((0, "smooth: linked users\nand items are alike", "left"),
                          (1, "rough: linked users\nand items differ", "right")):
        below.text(x, -0.13, text, transform=below.transAxes, ha=side, va="top", fontsize="small")
    drawn = [b for b in spectrum.borders if b is not None and math.isfinite(b)]
    for axis in (above, below):
        for k, border in enumerate(drawn):
            axis.axvline(border, color="0.5", linestyle=":", linewidth=1,
                         label="border of bands" if axis is above and not k else None)
    above.legend(**ABOVE, ncols=len(diagnosis.bands) + 1)
    below.legend(**ABOVE, ncols=max(len(spectrum.density), 1))
    return figure


def draw_mixing(diagnosis: Diagnosis) -> Figure:
    """Heat maps of the CP operator for both sides."""
    n = len(diagnosis.slots)
    size = max(2.2 + 0.42 * n, 3.8)
    figure = _figure(2 * size + 1, size + 0.6, "Mixing: how much of every band of every modality "
                     "(column) reaches every other (row)", diagnosis)
    # Near the identity the diagonal would leave no colour for the rest.
    beyond = [np.array(side.matrix) - np.eye(n) for side in diagnosis.mixing.values()]
    reach = max(np.abs(beyond).max(), _LEAST_REACH)
    axes = figure.subplots(1, 2)
    for axis, (side, mixing) in zip(axes, diagnosis.mixing.items()):
        image = _heat_map(axis, mixing.matrix, 0, reach, written=n <= 12)
        axis.set_xticks(range(n), diagnosis.slots, rotation=90)
        axis.set_yticks(range(n), diagnosis.slots)
        axis.set(title=f"{side}: {mixing.shares['stays']:.0%} stay where they are",
                 xlabel="from band and modality", ylabel="to band and modality")
        axis.title.set_fontsize("medium")
        C = len(diagnosis.modalities)
        for border in np.arange(C, n, C) - 0.5:
            axis.axhline(border, color="0.3", linewidth=0.8)
            axis.axvline(border, color="0.3", linewidth=0.8)
    figure.colorbar(image, ax=axes, shrink=0.8, extend="max",
                    label="weight (no mixing: 1 on the diagonal)")
    return figure


def draw_gate(diagnosis: Diagnosis) -> Figure:
    """Heat maps of the gate, one per modality, users by their activity."""
    C, groups = len(diagnosis.modalities), diagnosis.gate
    figure = _figure(max(2.6 + 2.6 * C, 7), 2.1 + 0.5 * len(groups),
                     "Gate: the factor on each band of users, by their training interactions",
                     diagnosis)
    gates = np.array([group.gate for group in groups])
    reach = max(np.abs(gates - 1).max(), _LEAST_REACH)
    axes = np.atleast_1d(figure.subplots(1, C, sharey=True))
    for k, (axis, c) in enumerate(zip(axes, diagnosis.modalities)):
        image = _heat_map(axis, gates[:, :, k], 1, reach, written=True)
        axis.set_xticks(range(len(diagnosis.bands)), diagnosis.bands)
        axis.set_yticks(range(len(groups)),
                        [f"{g.name}\n({g.users:,} users)" for g in groups])
        axis.set(title=c, xlabel="band")
    axes[0].set_ylabel("training interactions")
    figure.colorbar(image, ax=list(axes), label="gate (1 as it is, 0 closed)")
    return figure


def draw_agreement(diagnosis: Diagnosis) -> Figure:
    """Bars per band and pair of modalities: the same item against different items."""
    names, C = diagnosis.modalities, len(diagnosis.modalities)
    pairs = [(a, b) for a in range(C) for b in range(a + 1, C)]
    figure = _figure(max(7, 2.5 + 1.1 * len(diagnosis.bands) * max(len(pairs), 1)), 3.8,
                     "Do the modalities of an item say the same? Mean cosine per band", diagnosis)
    axis = figure.subplots()
    if not pairs:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "one modality: nothing to compare", ha="center", va="center")
        return figure
    width = 0.8 / len(pairs)
    same, other = (np.array(x, dtype=float) for x in
                   (diagnosis.agreement.same_item, diagnosis.agreement.other_item))
    at = np.arange(len(diagnosis.bands))
    for k, (a, b) in enumerate(pairs):
        x = at + (k - (len(pairs) - 1) / 2) * width
        axis.bar(x, same[:, a, b], 0.9 * width, color=f"C{k}",
                 label=f"{names[a]} and {names[b]}")
        axis.hlines(other[:, a, b], x - 0.45 * width, x + 0.45 * width, color="black", linewidth=2,
                    label=None if k else _OTHER_ITEMS)
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.set_xticks(at, diagnosis.bands)
    axis.set(xlabel="band", ylabel="mean cosine\n(1: same direction, 0: unrelated)")
    axis.margins(y=0.1)
    axis.set_xlim(-0.5, len(at) - 0.5)  # an empty band keeps its place
    handles, labels = axis.get_legend_handles_labels()
    bars_first = sorted(zip(labels, handles), key=lambda pair: pair[0] == _OTHER_ITEMS)
    labels, handles = zip(*bars_first)
    axis.legend(handles, labels, **ABOVE, ncols=min(len(handles), 4))
    return figure


def draw_ablation(diagnosis: Diagnosis) -> Figure:
    """Bars of recall and NDCG with something left out, by group of users."""
    ablation = diagnosis.ablation
    variants = ablation.variants
    groups = [g for g in variants[0].groups if g != "all"]
    shown = ["all", *groups] if len(groups) > 1 else ["all"]
    figure = _figure(10, 1.9 + 0.3 * len(variants), "Ranking with bands or modalities "
                     f"left out ({_PARTS[diagnosis.part]})", diagnosis)
    names = [v.name for v in variants]
    colours = {g: colour for g, colour in zip(shown, ("0.35", "C1", "C0"))}
    height = 0.8 / len(shown)
    for axis, metric in zip(figure.subplots(1, 2, sharey=True), ("recall", "ndcg")):
        for k, group in enumerate(shown):
            values = [v.groups[group][metric] for v in variants]
            at = np.arange(len(variants)) + (k - (len(shown) - 1) / 2) * height
            label = "all users" if group == "all" else f"{group} training interactions"
            bars = axis.barh(at, values, 0.92 * height, color=colours[group],
                             label=f"{label} ({variants[0].groups[group]['users']:,})")
            if group == "all":
                axis.axvline(values[0], color="0.35", linestyle=":", linewidth=1, zorder=0)
                texts = [f"{v.groups[group][metric]:.3f}" for v in variants]
                axis.bar_label(bars, texts, padding=2, fontsize="x-small",
                               bbox={"color": "white", "pad": 0.5})
        axis.set_yticks(range(len(variants)), names)
        title = {"recall": "Recall", "ndcg": "NDCG"}[metric]
        largest = max(v.groups[g][metric] for v in variants for g in shown)
        axis.set(xlabel=f"{title}@{ablation.k}", xlim=(0, 1.15 * largest or 1))
    axis.invert_yaxis()
    if len(shown) > 1:
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center",
                      ncols=len(shown), frameon=False, fontsize="small")
    return figure


def _figure(width: float, height: float, title: str, diagnosis: Diagnosis) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(f"{title}\nSSR on {diagnosis.dataset}, epoch {diagnosis.best_epoch}",
                    fontsize="medium")
    return figure


def _colours(diagnosis: Diagnosis) -> list:
    """One colour per band, from low to high as the colours of light."""
    return list(colormaps["viridis"](np.linspace(0.1, 0.9, len(diagnosis.bands))))


def _ink(colour) -> str:
    """Black or white, whichever reads on a colour."""
    return "black" if np.dot(colour[:3], (0.3, 0.6, 0.1)) > 0.5 else "white"


def _heat_map(axis, values, center: float, reach: float, written: bool):
    """Draw a matrix, white at `center`, full colour at a distance of `reach` from it."""
    image = axis.imshow(values, cmap="RdBu_r", vmin=center - reach, vmax=center + reach,
                        aspect="auto")
    if written:
        for row, line in enumerate(values):
            for column, value in enumerate(line):
                dark = abs(value - center) > 0.6 * reach
                axis.text(column, row, f"{round(value, 2) + 0.0:.2f}", ha="center", va="center",
                          fontsize="small", color="white" if dark else "black")
    return image
