"""What the fuzz suite draws cases of: one line a subject."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fuzz_configs import CONFIG_CASES, check_config
from fuzz_features import FEATURE_CASES, check_features
from fuzz_outcome import Outcome, outcome_apart, outcome_of
from fuzz_settings import HOST_CASES, MODEL_CASES, check_settings
from fuzz_stored import (
    CACHE_CASES,
    CHECKPOINT_CASES,
    RESULT_CASES,
    STORED_MODELS,
    check_cache,
    check_checkpoint,
    check_left_behind,
)
from fuzz_tables import TABLE_CASES, check_tables
from fuzz_world import World
from hypothesis.strategies import SearchStrategy

# Of computing: a case takes a fraction of a second.
SECONDS = 60.0


class Subject(NamedTuple):
    """Its cases, plain values each, and the function of (case, world, folder) that tries one.

    `share` is the subject's part of the cases of a long run, `short` how many the short one draws;
    `models` are those whose finished runs its cases need.
    """

    cases: SearchStrategy
    check: Callable[[dict, World, Path], None]
    share: float
    short: int
    models: tuple[str, ...] = ()

    def outcome(self, case: dict, world: World, apart: bool = False) -> Outcome:
        """Try one case in a folder of its own, and in a process of its own if `apart`."""
        with world.case() as folder:
            judge = outcome_apart if apart else outcome_of
            return judge(lambda: self.check(case, world, folder), SECONDS)


SUBJECTS: dict[str, Subject] = {
    "settings of models": Subject(MODEL_CASES, check_settings, 0.25, 4),
    "settings of the host": Subject(HOST_CASES, check_settings, 0.2, 8),
    "features": Subject(FEATURE_CASES, check_features, 0.15, 8),
    "tables": Subject(TABLE_CASES, check_tables, 0.15, 8),
    "checkpoints": Subject(CHECKPOINT_CASES, check_checkpoint, 0.1, 1, STORED_MODELS),
    "run folders": Subject(RESULT_CASES, check_left_behind, 0.025, 4, ("SSR",)),
    "caches": Subject(CACHE_CASES, check_cache, 0.05, 1),
    "configs": Subject(CONFIG_CASES, check_config, 0.075, 1, ("SSR",)),
}
