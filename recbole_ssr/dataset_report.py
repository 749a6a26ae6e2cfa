"""What a dataset is like, as a run would see it: `recbole-ssr data <name>`."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType, init_seed

from recbole_ssr import runs
from recbole_ssr.config import PluginConfig, build_config
from recbole_ssr.corruption import Corruption
from recbole_ssr.data import statistics
from recbole_ssr.data.dataset import PARTS
from recbole_ssr.data.features import feature_paths
from recbole_ssr.distinct import distinct
from recbole_ssr.eval_settings import given_split
from recbole_ssr.evaluation import beyond_accuracy
from recbole_ssr.files import expanded
from recbole_ssr.quick_start import checked_data
from recbole_ssr.report.dataset.checks import degree_checks, feature_checks, split_checks
from recbole_ssr.report.dataset.record import (
    FILE,
    Check,
    DatasetReport,
    Degrees,
    Modality,
    Part,
)
from recbole_ssr.report.record import write_record

logger = logging.getLogger("recbole_ssr")

_WHERE = {"both": "training and inference", "training": "training alone, which this report shows",
          "inference": "inference alone, which this report does not show"}
_MULTIMODAL, _IDS_ONLY = "SSR", "BPR"
_ROW = "row of the inter_feat"  # has blanks, as no column of an atomic file


class _Rows(NamedTuple):
    """Interactions of a part. Shapes: users, items (n,), from 0; times (n,) seconds or None."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None


def dataset_report(
    dataset: str | None = None, flags: Mapping[str, object] | None = None,
    out: str | Path | None = None,
) -> DatasetReport:
    """Measure a dataset and its split; write `dataset.json` and `dataset.png`.

    Args:
        dataset: its name; default from the flags, then the embedded ml-100k.
        flags: settings of a run, from `parse_flags`. The model has no effect.
        out: a folder for the files, made if needed; the dataset's own without one.

    Raises:
        UserError: the dataset, a setting or the folder cannot be used.
    """
    report = measured(dataset, flags)
    write_report(report, out)
    return report


def measured(dataset: str | None = None, flags: Mapping[str, object] | None = None
             ) -> DatasetReport:
    """Measure a dataset and its split, as :func:`dataset_report`; write nothing."""
    config = _config(dataset, dict(flags or {}))
    with runs.quiet_host():
        return _measured(config)


def write_report(report: DatasetReport, out: str | Path | None = None) -> Path:
    """Write `dataset.json` and `dataset.png` into a folder, the dataset's own without one.

    Returns the folder. Raises UserError where it cannot be written.
    """
    from recbole_ssr.report.dataset.plots import draw  # matplotlib is slow to import

    out = expanded(out) if out else Path(report.folder)
    write_record(asdict(report), out / FILE)
    draw(report, out)
    return out


def _config(dataset: str | None, flags: dict) -> PluginConfig:
    """The configuration of a multimodal run; of one on ids where there are no features."""
    for key in ("model", "profile"):
        if flags.pop(key, None) is not None:
            logger.warning("the %s has no effect on the report of a dataset", key)
    config = build_config(_MULTIMODAL, dataset, flags=flags)
    asked = {"feature_path", "modalities"}.intersection(config.sources)
    if not asked and not Path(config["data_path"], config["feature_path"]).exists():
        config = build_config(_IDS_ONLY, dataset, flags=flags)
    return config


def _load_times(config: PluginConfig) -> None:
    """Let times be shown wherever the file has them; they could change which repeat is dropped."""
    load = config["load_col"]
    if load and load.get("inter") and config["rm_dup_inter"] is None:
        columns = dict.fromkeys([*load["inter"], config["TIME_FIELD"]])
        config["load_col"] = {**load, "inter": list(columns)}


def _measured(config: PluginConfig) -> DatasetReport:
    init_seed(config["seed"], config["reproducibility"])
    with checked_data(config) as kind:
        _load_times(config)
        dataset = kind(config)
        parts = _split(dataset)
    n_users, n_items = dataset.user_num - 1, dataset.item_num - 1
    of_items = np.bincount(np.concatenate([p.items for p in parts.values()]), minlength=n_items)
    of_users = np.bincount(np.concatenate([p.users for p in parts.values()]), minlength=n_users)
    user_degrees, item_degrees = _degrees(of_users), _degrees(of_items)
    codes = {name: statistics.pairs(p.users, p.items, n_items) for name, p in parts.items()}
    overlaps = {f"{a} and {b}": statistics.shared(codes[a], codes[b])
                for a, b in itertools.combinations(PARTS, 2)}
    records = [_part(name, rows, codes[name], parts["train"]) for name, rows in parts.items()]
    modalities, idle_featured = _modalities(dataset, of_items)
    fill, scaling = (config[key] if modalities else None
                     for key in ("feature_fill", "feature_scaling"))
    checks = [*_changes(dataset), *split_checks(records, overlaps, bool(config["repeatable"])),
              *degree_checks(user_degrees, item_degrees),
              *feature_checks(modalities, scaling, fill, n_items, idle_featured)]
    total = int(of_items.sum())
    return DatasetReport(
        dataset=config["dataset"], folder=str(dataset.dataset_path), split=_split_name(config),
        split_fingerprint=dataset.split_fingerprint, users=n_users, items=n_items,
        interactions=total, density=total / (n_users * n_items), user_degrees=user_degrees,
        item_degrees=item_degrees, parts=records, overlaps=overlaps, feature_fill=fill,
        feature_scaling=scaling, modalities=modalities, idle_featured_items=idle_featured,
        checks=checks,
    )


def _split(dataset: Dataset) -> dict[str, _Rows]:
    """Build the parts as training does, with the times of the file in full precision."""
    times, time_field = None, dataset.time_field
    if dataset.field2type.get(time_field) == FeatureType.FLOAT and time_field in dataset.inter_feat:
        times = dataset.inter_feat[time_field].to_numpy(np.float64)
    # RecBole keeps floats as float32, in which a minute of today is lost: carry row numbers along.
    dataset.inter_feat[_ROW] = np.arange(len(dataset.inter_feat))
    dataset.set_field_property(_ROW, FeatureType.TOKEN, FeatureSource.INTERACTION, 1)
    parts = {}
    for name, part in zip(PARTS, dataset.build()):
        users, items, rows = (part.inter_feat[field].numpy() for field in
                              (dataset.uid_field, dataset.iid_field, _ROW))
        parts[name] = _Rows(users - 1, items - 1, None if times is None else times[rows])
    return parts


def _split_name(config: PluginConfig) -> str:
    column, evaluation = config["split_column"], config["eval_args"]
    if column and not config["split_name"]:
        return f"column {column}"
    if given := given_split(config):
        return given
    kind, how = next(iter(evaluation["split"].items()))
    grouped = f", by {evaluation['group_by']}" if evaluation["group_by"] else ""
    return f"{kind} {how}{grouped}, order {evaluation['order']}"


def _degrees(degrees: np.ndarray) -> Degrees:
    values, nodes = np.unique(degrees, return_counts=True)
    quartiles = np.quantile(degrees, [0, 0.25, 0.5, 0.75, 1]).tolist()
    gini = beyond_accuracy.gini(degrees)
    return Degrees(*quartiles, mean=float(degrees.mean()), gini=gini,
                   none=int((degrees == 0).sum()), values=values.tolist(), nodes=nodes.tolist(),
                   histogram=[list(entry) for entry in statistics.powers_of_two(degrees)])


def _part(name: str, rows: _Rows, codes: np.ndarray, train: _Rows) -> Part:
    counts = {"name": name, "interactions": len(rows.users), "users": len(distinct(rows.users)),
              "items": len(distinct(rows.items)), "repeats": statistics.repeats(codes)}
    if name == PARTS[0]:
        return Part(**counts)
    no_user, no_item = (statistics.unseen(getattr(rows, side), getattr(train, side))
                        for side in ("users", "items"))
    older = None
    if rows.times is not None:
        share = statistics.share_older(rows.users, rows.times, train.users, train.times)
        older = share if np.isfinite(share) else None
    return Part(**counts, cold_users=len(distinct(rows.users[no_user])),
                cold_items=len(distinct(rows.items[no_item])), of_cold_users=int(no_user.sum()),
                of_cold_items=int(no_item.sum()), of_either=int((no_user | no_item).sum()),
                older=older)


def _changes(dataset: Dataset) -> list[Check]:
    """Tell what settings take away from the data, or do to the features on purpose."""
    checks, config = [], dataset.config
    share, corruption = config["train_share"], Corruption.of(config)
    if share != 1:
        checks.append(Check("training share", "note", f"train_share {share:g} draws this training "
                           f"part from {len(dataset.full_train):,} interactions."))
    if not hasattr(dataset, "item_features"):
        return checks
    for name in corruption.modalities:
        noise = corruption.noise.get(name, 0)
        lost = 1 if name in corruption.dropped else corruption.missing.get(name, 0)
        checks.append(Check(
            f"corrupted {name}", "note", f"On purpose, {100 * lost:g}% of the items lose their "
            f"{name} features and {noise:g} of a row's norm is added as noise, at "
            f"{_WHERE[config['corruption_at']]}."))
    return checks


def _modalities(dataset: Dataset, of_items: np.ndarray) -> tuple[list[Modality], int]:
    """Return the modalities, and the number of items with features but without interactions."""
    features = getattr(dataset, "item_features", None)
    if features is None:
        return [], 0
    folder = Path(dataset.dataset_path, dataset.config["feature_path"])
    modalities, featured = [], np.zeros(len(of_items), dtype=bool)
    for name in features.modalities:
        has = features.has_feature(name).numpy()[1:]
        featured |= has
        stored = np.load(feature_paths(folder, name)[0], mmap_mode="r")
        facts = statistics.vectors(stored)
        norms = {key: float(of(facts.norms)) for key, of in (
            ("minimum", np.min), ("median", np.median), ("mean", np.mean), ("maximum", np.max))}
        modalities.append(Modality(
            name=name, dim=stored.shape[1], dtype=str(stored.dtype), rows=len(stored),
            unused_rows=len(stored) - features.stored_rows(name), items=int(has.sum()),
            coverage=float(has.mean()),
            coverage_by_interactions=float(of_items[has].sum() / of_items.sum()), norms=norms,
            zero_rows=facts.zero, repeated_rows=facts.repeated))
    return modalities, int((featured & (of_items == 0)).sum())
