"""Full ranking with all metrics against a plain matrix product and topk of the same size.

    python benchmarks/evaluation.py                     # 20,000 and 100,000 items
    python benchmarks/evaluation.py --items 50000 --width 64

Both rank every item for the same blocks of users, in turn, in one process; embeddings are there
already. The plain one does U V' and topk of each block and nothing else: no item is left out, no
metric is computed. The figure is the median over rounds of the ratio of their times.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from made_data import make
from step_time import hardware, interleaved, quartiles_of

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.model.base import Embeddings
from recbole_ssr.quick_start import prepare, trainer_of

_PER_USER = 10  # interactions


def evaluations(users: int, items: int, width: int, folder: Path):
    """Return the evaluation of a model and the plain ranking, as functions to be timed."""
    settings = make(folder, "made", users, items, _PER_USER * users, {})
    config = build_config("FastLightGCN", "made",
                          config_dict=settings | {"embedding_size": width})
    config["run_folder"] = config["checkpoint_dir"] = str(folder)
    experiment = prepare(config)
    trainer, model = trainer_of(experiment), experiment.model.eval()
    trainer.eval_collector.data_collect(experiment.train)
    generator = torch.Generator().manual_seed(1)
    embeddings = Embeddings(*(torch.randn(n, width, generator=generator).to(config["device"])
                              for n in (model.n_users, model.n_items)))
    k = max(config["topk"])
    ranked = experiment.valid._dataset.inter_feat["user_id"].unique().to(config["device"])
    rows = config["eval_users_per_step"]

    def ours(_: int) -> float:
        model.use_embeddings(embeddings)
        return _seconds(lambda: trainer.evaluate(experiment.valid, load_best_model=False))

    def plain(_: int) -> float:
        def rank() -> None:
            for block in ranked.split(rows):
                torch.topk(embeddings.user[block] @ embeddings.item.T, k, dim=1)
        return _seconds(rank)

    return ours, plain, len(ranked), str(config["device"])


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", nargs="+", type=int, default=(20_000, 100_000))
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"recbole\.")
    try:
        for n, items in enumerate(arguments.items):
            with tempfile.TemporaryDirectory() as folder:
                ours, plain, users, device = evaluations(arguments.users, items, arguments.width,
                                                         Path(folder))
                times = interleaved([ours, plain], arguments.rounds)
            if not n:
                print(f"{hardware(device)}\n\n| items | users | evaluation, s | plain, s | ratio "
                      "(quartiles) |\n|---|---|---|---|---|")
            middle, low, high = quartiles_of([a / b for a, b in zip(*times)])
            seconds = [f"{quartiles_of(column)[0]:.2f}" for column in times]
            print(f"| {items:,} | {users:,} | {' | '.join(seconds)} | {middle:.2f} "
                  f"({low:.2f} to {high:.2f}) |", flush=True)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
