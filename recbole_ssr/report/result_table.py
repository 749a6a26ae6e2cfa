"""The table of finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.report.sheet import BEST, TEXT, Cell, Column, Sheet, ends_of
from recbole_ssr.result import RunResult, larger_is_better


def result_table(results: Sequence[RunResult]) -> Sheet:
    """One row per run and part, the best value of a part's column marked. Fits 80 columns."""
    metrics, rows = list(results[0].test or results[0].valid), []
    for result in results:
        costs = (f"{result.best_epoch}/{result.epochs}", f"{result.seconds_per_epoch:.2f}",
                 "-" if result.peak_mib is None else f"{result.peak_mib:.0f}")
        parts = [part for part in ("valid", "test") if getattr(result, part)]
        rows += [("" if k else result.model, part,
                  *(_cell(result, part, metric, results) for metric in metrics),
                  *(("", "", "") if k else costs)) for k, part in enumerate(parts)]
    return Sheet(f"{results[0].dataset}: {protocol_title(results[0].protocol)}",
                 ("model", Column("part", TEXT), *map(_short, metrics), "best\nepoch",
                  "s per\nepoch", "peak\nMiB"), rows, ends=ends_of(rows), small=True)


def calibration_line(result: RunResult) -> str | None:
    """Return what calibration did to the metric that chose the epoch; None where there was none."""
    if not result.calibration.get("kept"):
        return None
    metric = result.protocol["valid_metric"]
    parts = [f"{part} {before[metric.lower()]:.4f} to {getattr(result, part)[metric.lower()]:.4f}"
             for part, before in result.calibration["uncalibrated"].items() if before]
    return (f"Bands, modalities and popularity calibrated on the validation part ({metric}, "
            f"{', '.join(parts)}); --calibrate=False leaves it out.")


def _cell(result: RunResult, part: str, metric: str, results: Sequence[RunResult]) -> Cell:
    value, best = getattr(result, part)[metric], max if larger_is_better(metric) else min
    leads = len(results) > 1 and value == best(getattr(r, part)[metric] for r in results)
    return Cell(f"{value:.4f}", BEST if leads else "")


def _short(metric: str) -> str:
    """recall@10 -> Recall@10, ndcg@10 -> NDCG@10, the cut-off on a line of its own."""
    name, at, k = metric.partition("@")
    return (name.upper() if len(name) <= 4 else name.capitalize()) + (f"\n{at}{k}" if at else "")
