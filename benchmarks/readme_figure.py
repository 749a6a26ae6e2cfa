"""Picture and table of the README, from finished runs.

    python run_recbole_ssr.py
    python run_recbole_ssr.py --model=LightGCN
    python run_recbole_ssr.py --model=BPR
    python benchmarks/readme_figure.py --runs runs
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from recbole_ssr.report.result_table import result_table
from recbole_ssr.report.terminal import rendered
from recbole_ssr.result import RunResult

MODELS = ("SSR", "LightGCN", "BPR")


def newest(runs: Path, model: str) -> RunResult:
    """Return the newest finished run of a model on ml-100k."""
    folders = sorted(path.parent for path in runs.glob(f"ml-100k-{model}-*/metrics.json"))
    if not folders:
        raise SystemExit(f"error: no finished run of {model} in {runs}; see the top of this file")
    return RunResult.read(folders[-1])


def draw(results: list[RunResult], path: Path) -> None:
    """Validation over epochs on the left, test metrics on the right."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    curve, bars = figure.subplots(1, 2)
    metrics = list(results[0].test)
    for k, result in enumerate(results):
        measured = [record for record in result.history if "valid" in record]
        (line,) = curve.plot([r["epoch"] for r in measured],
                             [r["valid"]["recall@20"] for r in measured], label=result.model)
        chosen = result.history[result.best_epoch]["valid"]["recall@20"]
        curve.plot(result.best_epoch, chosen, "o", color=line.get_color())
        places = [x + (k - 1) * 0.27 for x in range(len(metrics))]
        drawn = bars.bar(places, [result.test[m] for m in metrics], 0.25, label=result.model)
        bars.bar_label(drawn, fmt="%.3f", fontsize=7, padding=1)
    curve.set(xlabel="epoch (dot: selected)", ylabel="Recall@20, validation", ylim=(0, None))
    curve.legend(frameon=False, loc="lower right")
    bars.set_xticks(range(len(metrics)), metrics)
    bars.set(ylabel="test", ylim=(0, 1.12 * max(max(r.test.values()) for r in results)))
    bars.yaxis.set_major_locator(MaxNLocator(5))
    figure.suptitle(f"ml-100k, full ranking, one seed ({results[0].seed}), selected on validation")
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "ml-100k.png")
    arguments = parser.parse_args()
    results = [newest(arguments.runs, model) for model in MODELS]
    if any(result.protocol != results[0].protocol for result in results):
        raise SystemExit("error: the newest runs do not share one protocol")
    draw(results, arguments.out)
    Console(width=100, highlight=False).print(rendered(result_table(results)))


if __name__ == "__main__":
    main()
