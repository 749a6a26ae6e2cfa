"""Time and memory from 100,000 to ten million interactions, of SSR and three graph models.

    python benchmarks/scaling.py                                    # 5 sizes x 4 models
    python benchmarks/scaling.py --sizes 1e5 1e6 --models SSR       # a part, added to the file
    python benchmarks/scaling.py --report                           # table and picture of the file

The data are made (made_data.py): E interactions of E/20 users with E/100 items, two modalities of
128 numbers each, so that ten million are 500,000 users and 100,000 items. Each model and size has a
process of its own, which loads the data, builds the model, begins an epoch, runs a few training
steps and ranks all items for a few blocks of users. A step is drawing the batch and its negatives,
loss, backward and Adam; an epoch and an evaluation are estimated from these. What was measured is
written to a file after each process, in which a model and size that come again replace the former.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from made_data import make
from matplotlib.figure import Figure
from step_time import hardware, own_peak

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr import registry
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.files import in_one_step
from recbole_ssr.quick_start import prepare, trainer_of
from recbole_ssr.report.pictures import ABOVE, save

MODELS = ("SSR", "FastLightGCN", "FREEDOM", "SMORE")
SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
WIDTHS = {"image": 128, "text": 128}
_PER_USER, _PER_ITEM = 20, 100
_SECONDS_OF_STEPS = 10.0  # and then no more, but two at least
# Heading, key, factor on what the file has, and number of decimals.
_COLUMNS = (("load, s", "load", 1, 1), ("build, s", "build", 1, 1), ("step, ms", "step", 1e3, 0),
            ("epoch, min", "epoch", 1 / 60, 1), ("evaluation, s", "evaluation", 1, 1),
            ("peak MiB", "peak", 1, 0))
_LAWS = {"step": "seconds a step", "evaluation": "seconds an evaluation",
         "peak": "peak MiB beyond the libraries"}


def clock(work: Callable[[], object]) -> tuple[float, object]:
    """Return the seconds that `work` took, on its device too, and its result."""
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def measured_here(model: str, settings: dict, arguments: argparse.Namespace) -> dict:
    """Build a model and run parts of an epoch and of an evaluation; return seconds and peak."""
    libraries = own_peak()
    with tempfile.TemporaryDirectory() as folder:
        settings = {**settings, "train_batch_size": arguments.batch_size}
        config = build_config(model, arguments.dataset, config_dict=settings)
        config["run_folder"] = config["checkpoint_dir"] = folder
        times = _Stopwatch(config)
        whole, experiment = clock(lambda: prepare(config))
        trainer = trainer_of(experiment)
    result = {"model": model, "load": times.loaded, "build": whole - times.loaded}
    result |= train(experiment, trainer, arguments.steps)
    result |= evaluate(experiment, trainer, arguments.blocks)
    if torch.cuda.is_available():
        result["gpu_peak"] = torch.cuda.max_memory_allocated() / 2**20
    return {**result, "peak": own_peak(), "libraries": libraries, "batch": arguments.batch_size,
            "threads": torch.get_num_threads(), "hardware": hardware(str(config["device"]))}


class _Stopwatch:
    """The seconds from here until the model of a configuration begins to be built."""

    def __init__(self, config):
        self.loaded, start, cls = float("nan"), time.perf_counter(), config.model_class

        def build(*arguments):
            self.loaded = time.perf_counter() - start
            return cls(*arguments)

        config.model_class = build


def train(experiment, trainer, most: int) -> dict:
    """Return the seconds of the epoch's beginning, of a step and, estimated, of an epoch."""
    model, device = experiment.model.train(), experiment.config["device"]
    begin = clock(lambda: getattr(model, "begin_epoch", lambda _: None)(0))[0]
    batches = iter(experiment.train)

    def step() -> None:
        batch = next(batches).to(device)
        trainer.optimizer.zero_grad()
        loss = model.calculate_loss(batch)
        (sum(loss) if isinstance(loss, tuple) else loss).backward()
        trainer.optimizer.step()

    # The first one shuffles, makes Adam's state and what a model keeps for the epoch.
    first = clock(step)[0]
    seconds: list[float] = []
    while len(seconds) < min(2, most) or (
            len(seconds) < most and sum(seconds) < _SECONDS_OF_STEPS):
        seconds.append(clock(step)[0])
    middle = statistics.median(seconds)
    epoch = begin + first + middle * (len(experiment.train) - 1)
    return {"begin": begin, "first": first, "step": middle, "steps": len(seconds), "epoch": epoch}


@torch.no_grad()
def evaluate(experiment, trainer, blocks: int) -> dict:
    """Return the seconds of encoding and, estimated from some blocks of users, of a validation."""
    model, loader = experiment.model.eval(), experiment.valid
    encode = clock(model.final_embeddings)[0]
    collector = trainer.eval_collector
    collector.data_collect(experiment.train)
    trainer.tot_item_num = experiment.dataset.item_num
    seconds = []
    for batch in islice(loader, blocks):
        seconds.append(clock(lambda: _ranked(trainer, collector, batch))[0])  # noqa: B023
    block = statistics.median(seconds)
    return {"encode": encode, "block": block, "evaluation": encode + block * len(loader)}


def _ranked(trainer, collector, batch) -> None:
    interaction, scores, *positives = trainer._full_sort_batch_eval(batch)
    collector.eval_batch_collect(scores, interaction, *positives)


def measured(model: str, size: int, settings: dict, arguments: argparse.Namespace) -> dict:
    """Run a model in a process of its own; return what it measured, or its error."""
    command = [sys.executable, __file__, "--child", json.dumps([model, settings]),
               f"--dataset={name_of(size)}", f"--batch_size={arguments.batch_size}",
               f"--steps={arguments.steps}", f"--blocks={arguments.blocks}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {arguments.timeout:.0f} s"}
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or ["9 is often for lack of memory"]
        return {"error": f"ended with status {done.returncode}: {told[0]}"}
    return json.loads(done.stdout.splitlines()[-1])


def name_of(size: int) -> str:
    """Return the name of the dataset of a size."""
    return f"made-{size}"


def data_of(size: int, folder: Path) -> dict:
    """Make the data of a size below `folder`, once; return a run's settings."""
    settings = {"data_path": str(folder), "split_column": "part", "show_progress": False,
                "load_col": {"inter": ["user_id", "item_id", "part"]}}
    if not (folder / name_of(size)).is_dir():
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            make(Path(draft), name_of(size), size // _PER_USER, size // _PER_ITEM, size, WIDTHS)
            Path(draft, name_of(size)).rename(folder / name_of(size))
    return {**settings, "cache_dir": str(folder / "cache")}


def rows_of(file: Path) -> list[dict]:
    """Return what the file has, in the order of models and sizes."""
    rows = json.loads(file.read_text()) if file.is_file() else []
    order = {model: place for place, model in enumerate(MODELS)}
    return sorted(rows, key=lambda row: (order.get(row["model"], len(order)), row["model"],
                                         row["size"]))


def add(file: Path, row: dict) -> None:
    """Put a measurement into the file in place of an earlier one of the same model and size."""
    rows = [one for one in rows_of(file)
            if (one["model"], one["size"]) != (row["model"], row["size"])]
    with in_one_step(file, "Name another file with --out") as draft:
        Path(draft).write_text(json.dumps([*rows, row], indent=1))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return b of the least squares fit of a size^b, in logarithms; nan for one size.

    >>> round(exponent([10, 100, 1000], [3, 300, 30000]), 6)
    2.0
    """
    if len(sizes) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def beyond(row: dict, key: str) -> float:
    """Return a measurement; of the peak what the libraries do not hold before any data."""
    return row[key] - row["libraries"] if key == "peak" else row[key]


def report(rows: Sequence[dict], picture: Path | None) -> None:
    """Print a table in markdown and the exponents; draw them on log axes."""
    done = [row for row in rows if "error" not in row]
    for line in sorted({row["hardware"] for row in done}):
        print(f"{line}\n")
    print(_line(["model", "interactions", *(name for name, *_ in _COLUMNS)]))
    print(_line(["---"] * (len(_COLUMNS) + 2)))
    for row in rows:
        cells = [f"{row[key] * factor:,.{places}f}" for _, key, factor, places in _COLUMNS
                 ] if "error" not in row else [row["error"]]
        print(_line([row["model"], f"{row['size']:,}", *cells]))
    print("\n" + _line(["exponent of", *_LAWS.values()]))
    print(_line(["---"] * (len(_LAWS) + 1)))
    for model in dict.fromkeys(row["model"] for row in done):
        own = [row for row in done if row["model"] == model]
        print(_line([model, *(f"{_law(own, key):.2f}" for key in _LAWS)]))
    if picture and done:
        print(f"\n{draw(done, picture)}")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _law(rows: Sequence[dict], key: str) -> float:
    return exponent([row["size"] for row in rows], [beyond(row, key) for row in rows])


def draw(rows: Sequence[dict], path: Path) -> Path:
    """Draw step, evaluation and memory by size, each with its exponent; return the path."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (key, name) in zip(figure.subplots(1, len(_LAWS)), _LAWS.items()):
        for model in dict.fromkeys(row["model"] for row in rows):
            own = [row for row in rows if row["model"] == model]
            axes.loglog([row["size"] for row in own], [beyond(row, key) for row in own], "o-",
                        markersize=4, label=f"{model} {_law(own, key):.2f}")
        axes.set_xlabel("interactions")
        axes.set_ylabel(name)
        axes.legend(**ABOVE, ncols=2, title="exponent")
    return save(figure, path, dpi=150)


def arguments_of(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL")
    parser.add_argument("--sizes", nargs="+", type=float, default=SIZES, metavar="INTERACTIONS")
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=10, help="at most; fewer where they are long")
    parser.add_argument("--blocks", type=int, default=2, help="of users, in the evaluation")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one model")
    parser.add_argument("--folder", type=Path, help="keep the data and nearest neighbours here")
    parser.add_argument("--out", type=Path, default=Path("scaling.json"))
    parser.add_argument("--picture", type=Path, help="default: beside --out")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--dataset", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = arguments_of(argv)
    warnings.filterwarnings("ignore", module=r"recbole\.")
    if arguments.child:
        print(json.dumps(measured_here(*json.loads(arguments.child), arguments)))
        return 0
    picture = arguments.picture or arguments.out.with_suffix(".png")
    try:
        models = [registry.canonical(name) for name in arguments.models]
        with tempfile.TemporaryDirectory() as temporary:
            folder = arguments.folder or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            for size in [] if arguments.report else map(int, arguments.sizes):
                settings = data_of(size, folder)
                for model in models:
                    row = measured(model, size, settings, arguments)
                    add(arguments.out, {"model": model, "size": size, **row})
                    print(model, f"{size:,}", row.get("error", "measured"), flush=True)
        report(rows_of(arguments.out), picture)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
