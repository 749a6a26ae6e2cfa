"""Training step of SSR against RecBole's own LightGCN (2 layers, 64-d) on the same data.

    python benchmarks/step_time.py                       # ml-100k
    python benchmarks/step_time.py --data <folder>       # tiktok, from <folder>/tiktok

Pairs of steps alternate in one process, on the same batch size; the figure is the median over
pairs of the ratio SSR / LightGCN. A step is loss, backward and Adam as the trainer runs them; the
batches are drawn beforehand and cost neither model anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr.config import build_config
from recbole_ssr.data.features import write_features
from recbole_ssr.quick_start import prepare, trainer_of


def tiktok(source: Path, folder: Path) -> dict:
    """Write the published TikTok split with its two modalities as a dataset of the plugin."""
    target = folder / "tiktok"
    target.mkdir(parents=True)
    lines = (source / "tiktok.inter").read_text().splitlines()
    header = "user_id:token\titem_id:token\tx_label:float"
    (target / "tiktok.inter").write_text("\n".join([header, *lines[1:]]) + "\n")
    for modality in ("image", "audio"):
        matrix = np.load(source / f"{modality}_feat.npy", mmap_mode="r")
        write_features(target / "features", modality, matrix, [str(i) for i in range(len(matrix))])
    return {"data_path": str(folder), "split_column": "x_label",
            "load_col": {"inter": ["user_id", "item_id", "x_label"]}}


def steps(model_name: str, dataset: str, settings: dict, batch_size: int):
    """Return a function that runs one training step, and the model's number of parameters."""
    settings = {**settings, "show_progress": False, "train_batch_size": batch_size}
    if model_name == "LightGCN":
        settings |= {"n_layers": 2, "embedding_size": 64}
    config = build_config(model_name, dataset, config_dict=settings)
    config["run_folder"] = config["checkpoint_dir"] = tempfile.mkdtemp()
    experiment = prepare(config)
    trainer = trainer_of(experiment)
    model, optimizer = experiment.model.train(), trainer.optimizer
    batches = [batch.to(config["device"]) for batch, _ in zip(experiment.train, range(20))]

    def step(k: int) -> float:
        batch = batches[k % len(batches)]
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model.calculate_loss(batch)
        (sum(loss) if isinstance(loss, tuple) else loss).backward()
        optimizer.step()
        if config["device"].type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return step, sum(p.numel() for p in model.parameters()), str(config["device"])


def hardware(device: str) -> str:
    """One line about the machine."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU in use"
    return (f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, torch "
            f"{torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with tiktok/; without it, ml-100k")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=2048)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"recbole\.")
    with tempfile.TemporaryDirectory() as folder:
        dataset, settings = "ml-100k", {}
        if arguments.data:
            source = arguments.data / "tiktok"
            if not (source / "tiktok.inter").is_file():
                print(f"error: {source / 'tiktok.inter'} does not exist", file=sys.stderr)
                return 2
            dataset, settings = "tiktok", tiktok(source, Path(folder))
        names = ("SSR", "LightGCN")
        built = [steps(name, dataset, settings, arguments.batch_size) for name in names]
        for step, *_ in built:
            for k in range(5):
                step(k)
        times = [[step(k) for step, *_ in built] for k in range(arguments.pairs)]
    print(hardware(built[0][2]))
    print(f"{dataset}, batch {arguments.batch_size}, {arguments.pairs} interleaved pairs")
    for (_, size, _), name, column in zip(built, names, zip(*times)):
        low, middle, high = statistics.quantiles(column, n=4)
        print(f"  {name:9s} {middle * 1e3:7.1f} ms a step (quartiles {low * 1e3:.1f}, "
              f"{high * 1e3:.1f}), {size:,} parameters")
    ratios = [ssr / light for ssr, light in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  ratio SSR / LightGCN, median of pairs: {middle:.2f} (quartiles {low:.2f}, "
          f"{high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
