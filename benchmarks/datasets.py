"""The research datasets of the benchmarks, prepared once from the folders as published.

`--data` of every script names the folder that holds `tiktok/` and `baby-lattice/`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from recbole_ssr.dataset_prep.options import options_of
from recbole_ssr.dataset_prep.prepare import prepare
from recbole_ssr.errors import UserError

# `baby` has the features of its folder, `baby-lattice` noise in the widths of Amazon's published
# ones (a CNN's visual, a sentence encoder's text), which serves for times and memory.
INTERACTIONS = {"tiktok": "tiktok/tiktok.inter", "baby": "baby-lattice/baby.inter",
                "baby-lattice": "baby-lattice/baby.inter"}
_BABY_WIDTHS = {"image": 4096, "text": 384}
_BABY_SEED = 2020


def convert(name: str, data: Path, folder: Path) -> dict:
    """Prepare dataset `name` from `data` below `folder`, once; return the settings of runs on it.

    Raises UserError for another dataset and where the published files are not there.
    """
    settings = {"data_path": str(folder)}
    if (folder / name).is_dir():
        return settings
    if name not in INTERACTIONS:
        raise UserError(f"--data has {', '.join(INTERACTIONS)}, not {name!r}")
    inter = Path(data, INTERACTIONS[name])
    if not inter.is_file():
        raise UserError(f"{inter} does not exist; name the folder that holds {inter.parent.name}/ "
                        f"with --data")
    options = {"source": "mmrec", "name": name, "data_path": str(folder)}
    if name != "baby-lattice":
        prepare(options_of({**options, "path": str(inter.parent)}))
        return settings
    with tempfile.TemporaryDirectory() as source:
        shutil.copy(inter, source)
        _random_features(inter, Path(source))
        prepare(options_of({**options, "path": source}))
    return settings


def _random_features(inter: Path, target: Path) -> None:
    """Seeded noise for every item of the interactions."""
    items = np.loadtxt(inter, delimiter="\t", skiprows=1, usecols=1, dtype=int)
    rng = np.random.default_rng(_BABY_SEED)
    for modality, width in _BABY_WIDTHS.items():
        matrix = rng.standard_normal((items.max() + 1, width), dtype=np.float32)
        np.save(target / f"{modality}_feat.npy", matrix)
