"""LightGCN on the ids of Amazon Baby: RecBole's and the bundled one, to check the protocol.

    python benchmarks/id_only_baby.py --data <folder> --out <folder> [--table]

The split of baby-lattice is published, and so is a Recall@20 of about .0698 for LightGCN on it.
Two weights of the regulariser each, selected on validation as in baselines_tiktok.py, whose
resuming and tables these are; training and validation items are masked at test. The dataset has no
features.
"""

from __future__ import annotations

import sys

import baselines_tiktok as baselines
from baselines_settings import PAPER, Group, Plan

BABY = Plan(
    "baby-lattice",
    [Group("LightGCN", PAPER, [{"learning_rate": 0.001, "n_layers": 3, "reg_weight": weight}
                               for weight in (0.0001, 0.01)], seeds=1),
     Group("FastLightGCN", PAPER, [{"learning_rate": 0.001, "n_layers": 3, "l2_weight": weight}
                                   for weight in (0.0001, 0.001)], seeds=1)],
    {"LightGCN": ".0698", "FastLightGCN": ".0698"},
    "† Recall@20 as published for this split.",
    features=False,
)


def main(words: list[str] | None = None) -> int:
    return baselines.main(words, BABY, __file__, __doc__)


if __name__ == "__main__":
    sys.exit(main())
