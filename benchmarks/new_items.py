"""Items that no model was trained on, ranked by their features alone.

    python benchmarks/new_items.py --out <folder> --modalities text             ml-100k
    python benchmarks/new_items.py --out <folder> --data <folder> --dataset tiktok

The split `cold-items` divides the items. Models train on the interactions of its training items
alone, which are split 8:1:1 per user for the choice of the epoch; the items of its test part are
then given to the trained model as a folder of features (`--new-items`), and every user with a test
interaction is ranked over these new items, and over all items without those seen. Recall divides
by the user's new items. At random, each of n new items is among the k best with chance k / n;
popularity knows no interaction of any of them, so that it ranks them at random among themselves
and behind all others. A run is kept in --out, so that the benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import convert
from step_time import hardware

import recbole_ssr
from recbole_ssr.cli import exit_status
from recbole_ssr.config import build_config
from recbole_ssr.data.features import write_features
from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.split_rules import TEST, TRAIN
from recbole_ssr.dataset_prep.splits import label, read_split
from recbole_ssr.experiment import interactions_of
from recbole_ssr.quick_start import prepare
from recbole_ssr.result import RunResult

MODELS = ("SSR", "FeatureLightGCN", "FREEDOM", "PGL", "MGCN", "SMORE", "VBPR", "SLMRec", "LGMRec",
          "MENTOR", "LATTICE", "MMGCN", "GRCN", "DualGNN", "FeatureItemKNN", "FeatureEASE",
          "ClosedFormSum")
K = 20


def divide(dataset: str, settings: dict, out: Path, modalities: list[str] | None = None
           ) -> tuple[Path, Path, pd.DataFrame]:
    """Write the dataset `warm` and the features of the new items below `out`.

    Returns the folder of datasets, that of the new features, and the test interactions (columns
    user and item). A new item has at least one feature and no interaction in `warm`; users who
    are left without any are no part of the test.
    """
    config = build_config("SSR", dataset, config_dict={
        "show_progress": False, "modalities": modalities, **settings})
    experiment = prepare(config)
    parts, data = interactions_of(experiment), experiment.dataset
    pairs = np.concatenate([parts.train, parts.valid, parts.test], axis=1)
    users, items = (data.field2id_token[field][ids].astype(str)
                    for field, ids in zip((data.uid_field, data.iid_field), pairs))
    whole = Interactions.from_tokens(users, items)
    labels = label(whole, read_split("cold-items"))
    warm = Interactions.from_tokens(users[labels == TRAIN], items[labels == TRAIN])
    folder = out / "data" / "warm"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({
        "user_id:token": warm.user_tokens[warm.users],
        "item_id:token": warm.item_tokens[warm.items],
        "part:float": label(warm, read_split("ratio")),
    }).to_csv(folder / "warm.inter", sep="\t", index=False)
    features, tokens = data.item_features, data.field2id_token[data.iid_field].astype(str)
    held_out = np.unique(items[labels == TEST])
    # Rows are of unit length here, as every run makes them: once more changes nothing.
    for modality in features.modalities:
        here = features.has_feature(modality).numpy()
        matrix = features.matrix(modality).numpy()
        for target, which in ((folder / "features", np.isin(tokens, warm.item_tokens)),
                              (out / "new", np.isin(tokens, held_out))):
            write_features(target, modality, matrix[here & which], tokens[here & which])
    test = pd.DataFrame({"user": users[labels == TEST], "item": items[labels == TEST]})
    return folder.parent, out / "new", test[test["user"].isin(warm.user_tokens)]


def measured(run: str, new: Path, test: pd.DataFrame) -> dict[str, float]:
    """Return recall and NDCG at K among the new items and among all."""
    recommender = recbole_ssr.load(run, new_items=new)
    fresh = recommender.new.tokens
    test = test[test["item"].isin(fresh)]
    wanted = test.groupby("user")["item"].apply(set)
    seen = recommender.catalogue.seen[recommender.catalogue.user_ids(wanted.index)]
    values = {"new_items": len(fresh), "users": len(wanted),
             "ranked": len(recommender.items) - seen.nnz / len(wanted)}
    for name, candidates in (("new", fresh), ("all", None)):
        ranked = recommender.recommend(list(wanted.index), K, candidates=candidates)
        by_user = ranked.groupby("user")["item"].apply(list)
        hits = [[item in wanted[user] for item in by_user[user]] for user in wanted.index]
        values[f"recall_{name}"] = float(np.mean([sum(row) / len(wanted[user])
                                                  for row, user in zip(hits, wanted.index)]))
        values[f"ndcg_{name}"] = float(np.mean([_ndcg(row, len(wanted[user]))
                                                for row, user in zip(hits, wanted.index)]))
    return values


def _ndcg(hits: list[bool], wanted: int) -> float:
    gains = 1 / np.log2(np.arange(2, K + 2))
    return float(gains[: len(hits)] @ np.array(hits) / gains[: min(wanted, K)].sum())


def run_of(model: str, data: Path, args: argparse.Namespace) -> str:
    """Train a model on the warm items, or return the finished run that is there."""
    folder = Path(args.out, "runs", f"{model}-{args.seed}")
    if not (folder / "metrics.json").is_file():
        columns = ["user_id", "item_id", "part"]
        recbole_ssr.run(model, "warm", folder=folder, config_dict={
            "data_path": str(data), "split_column": "part", "load_col": {"inter": columns},
            "seed": args.seed, "epochs": args.epochs, "stopping_step": args.patience,
            "show_progress": False, "device": args.device})
    return str(folder)


def main(argv: list[str] | None = None) -> int:
    args = _arguments(argv)
    out = Path(args.out)
    settings = convert(args.dataset, Path(args.data), out / "source") if args.data else {}
    data, new, test = divide(args.dataset, settings, out, args.modalities)
    lines = {}
    for model in args.models:
        run = run_of(model, data, args)
        lines[model] = {**measured(run, new, test),
                        "warm": RunResult.read(run).valid[f"recall@{K}"]}
        (out / "new_items.json").write_text(json.dumps(lines, indent=2) + "\n")
    first = next(iter(lines.values()))
    chance = [min(1, K / first[key]) for key in ("new_items", "ranked")]
    print(f"{args.dataset}: {first['new_items']:,} new items, {first['users']:,} users who have "
          f"one; seed {args.seed}, at most {args.epochs} epochs, {hardware(args.device)}\n")
    print(f"| model | R@{K} among new | N@{K} among new | R@{K} among all | valid R@{K}, known |")
    print("|---|---|---|---|---|")
    print(f"| random | {chance[0]:.4f} | | {chance[1]:.4f} | |")
    print(f"| popularity | {chance[0]:.4f} | | 0.0000 | |")
    for model, line in sorted(lines.items(), key=lambda pair: -pair[1]["recall_new"]):
        print("| " + " | ".join([model, *(f"{line[key]:.4f}" for key in (
            "recall_new", "ndcg_new", "recall_all", "warm"))]) + " |")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of data, runs and figures")
    parser.add_argument("--data", help="folder that holds the published dataset's folder")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--modalities", nargs="+", help="all of the dataset by default")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--patience", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(exit_status(main))
