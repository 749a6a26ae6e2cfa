"""Terminal tables of finished runs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from recbole_ssr.report.protocol_words import protocol_title
from recbole_ssr.result import RunResult, larger_is_better


def result_table(results: Sequence[RunResult]) -> Table:
    """One row per run and part, the best value of a part's column in bold. Fits 80 columns."""
    metrics = list(results[0].test or results[0].valid)
    table = Table(title=f"{results[0].dataset}: {protocol_title(results[0].protocol)}",
                  title_justify="left", title_style="", show_edge=False, pad_edge=False)
    table.add_column("model")
    table.add_column("part")
    for metric in metrics:
        table.add_column(_short(metric), justify="right")
    for name in ("best\nepoch", "s per\nepoch", "peak\nMiB"):
        table.add_column(name, justify="right")
    for result in results:
        parts = [part for part in ("valid", "test") if getattr(result, part)]
        for part in parts:
            cells = [_cell(result, part, metric, results) for metric in metrics]
            tail = ["", "", ""] if part != parts[0] else [
                f"{result.best_epoch}/{result.epochs}", f"{result.seconds_per_epoch:.2f}",
                "-" if result.peak_mib is None else f"{result.peak_mib:.0f}",
            ]
            name = result.model if part == parts[0] else ""
            table.add_row(name, part, *cells, *tail, end_section=part == parts[-1])
    return table


def calibration_line(result: RunResult) -> str | None:
    """Return what calibration did to the metric that chose the epoch; None where there was none."""
    if not result.calibration.get("kept"):
        return None
    metric = result.protocol["valid_metric"]
    parts = [f"{part} {before[metric.lower()]:.4f} to {getattr(result, part)[metric.lower()]:.4f}"
             for part, before in result.calibration["uncalibrated"].items()]
    return (f"Bands, modalities and bias calibrated on the validation part ({metric}, "
            f"{', '.join(parts)}); --calibrate=False leaves it out.")


def _cell(result: RunResult, part: str, metric: str, results: Sequence[RunResult]) -> str:
    value, best = getattr(result, part)[metric], max if larger_is_better(metric) else min
    leads = len(results) > 1 and value == best(getattr(r, part)[metric] for r in results)
    return f"[bold]{value:.4f}[/bold]" if leads else f"{value:.4f}"


def _short(metric: str) -> str:
    """recall@10 -> Recall@10, ndcg@10 -> NDCG@10, the cut-off on a line of its own."""
    name, at, k = metric.partition("@")
    return (name.upper() if len(name) <= 4 else name.capitalize()) + (f"\n{at}{k}" if at else "")
