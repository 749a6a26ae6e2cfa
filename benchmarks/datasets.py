"""The research datasets of the benchmarks, written as datasets of the plugin.

`--data` of every script names the folder that holds `tiktok/` and `baby-lattice/` as published.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recbole_ssr.data.features import write_features

_HEADER = "user_id:token\titem_id:token\tx_label:float"
_COLUMNS = ["user_id", "item_id", "x_label"]
# Real widths of Amazon's features (a CNN's visual, a sentence encoder's text); the values are
# noise, so that Baby serves for times and memory and for accuracy on ids only.
_BABY_WIDTHS = {"image": 4096, "text": 384}
_BABY_SEED = 2020


def convert(name: str, data: Path, folder: Path) -> dict:
    """Write dataset `name` from `data` below `folder`, once; return the settings of runs on it.

    Raises FileNotFoundError, with a remedy, where the published files are not there.
    """
    settings = {"data_path": str(folder), "split_column": "x_label",
                "load_col": {"inter": _COLUMNS}}
    target = folder / name
    if target.is_dir():
        return settings
    build, inter = CONVERTERS[name]
    source = Path(data) / name
    if not (source / inter).is_file():
        raise FileNotFoundError(f"{source / inter} does not exist; name the folder that holds "
                                f"{name}/ with --data")
    # Beside its place and then moved: an interrupted conversion must not pass for a whole one.
    draft = folder / f".{name}-{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        lines = (source / inter).read_text().splitlines()
        (draft / f"{name}.inter").write_text("\n".join([_HEADER, *lines[1:]]) + "\n")
        build(source, draft)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return settings


def _tiktok(source: Path, target: Path) -> None:
    for modality in ("image", "audio"):
        matrix = np.load(source / f"{modality}_feat.npy", mmap_mode="r")
        write_features(target / "features", modality, matrix, _tokens(len(matrix)))


def _baby_lattice(source: Path, target: Path) -> None:
    """Seeded random features for every item of the interactions."""
    items = np.loadtxt(source / "baby.inter", delimiter="\t", skiprows=1, usecols=1, dtype=int)
    rng = np.random.default_rng(_BABY_SEED)
    for modality, width in _BABY_WIDTHS.items():
        matrix = rng.standard_normal((items.max() + 1, width), dtype=np.float32)
        write_features(target / "features", modality, matrix, _tokens(len(matrix)))


def _tokens(n: int) -> list[str]:
    return [str(i) for i in range(n)]


CONVERTERS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "tiktok": (_tiktok, "tiktok.inter"),
    "baby-lattice": (_baby_lattice, "baby.inter"),
}
