r"""Item features made worse on purpose: noise, missing rows, whole modalities gone.

.. math:: \tilde x = x + \text{level} \cdot \|x\| \cdot g / \|g\|, \qquad g \sim N(0, 1)^d

x is a row as models receive it, after feature_scaling, so that a level is the share of the row's
own norm: at 1 the noise is as long as the row. What is removed counts as missing in every way: the
mask says so and feature_fill fills it.

Draws belong to the seed, the modality and the item's token alone. The items that lack features at
one level are among those that lack them at every higher one, and an item's noise has the same
direction at every level.

Shapes: n items of a modality, d features.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recbole_ssr.errors import UserError, nearest

# Used where a Config lacks the plugin's defaults, as in stock `run_recbole`; as in overall.yaml.
DEFAULTS = {"feature_noise": None, "feature_missing": None, "drop_modality": None,
            "corruption_seed": 0, "corruption_at": "both"}


@dataclass(frozen=True)
class Corruption:
    """What happens to the features of every modality.

    Attributes:
        noise: modality -> level, above 0.
        missing: modality -> share of its items that lose their features, above 0.
        dropped: modalities that all items lose.
        seed: of all draws.
    """

    noise: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, settings: Mapping, stage: str = "both") -> Corruption:
        """Return what the settings ask for in a stage: training, inference, or at all ("both").

        `settings` maps the keys of DEFAULTS, absent ones standing for their defaults.
        """
        keys = DEFAULTS | {key: settings[key] for key in DEFAULTS if key in settings}
        if stage != "both" and keys["corruption_at"] not in ("both", stage):
            return CLEAN
        noise, missing = ({c: float(level) for c, level in (keys[key] or {}).items() if level > 0}
                          for key in ("feature_noise", "feature_missing"))
        dropped = tuple(sorted(set(_names(keys["drop_modality"]))))
        if not (noise or missing or dropped):
            return CLEAN
        return cls(noise, missing, dropped, keys["corruption_seed"])

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that it touches, sorted."""
        return tuple(sorted({*self.noise, *self.missing, *self.dropped}))

    def check(self, modalities: Sequence[str]) -> None:
        """Raise UserError where it names a modality that is not loaded."""
        for name in self.modalities:
            if name not in modalities:
                raise UserError(
                    f"feature_noise, feature_missing or drop_modality names {name!r}, but the "
                    f"modalities loaded are {', '.join(modalities)}.{nearest(name, modalities)} "
                    "Correct the name, or add it to modalities."
                )

    def removed(self, modality: str, tokens: Sequence[str]) -> np.ndarray:
        """Return which of the items with features lose them, bool (n,).

        Of n items, share x n rounded are removed: the first in an order that only the seed, the
        modality and the tokens decide.
        """
        share = 1.0 if modality in self.dropped else self.missing.get(modality, 0.0)
        out = np.zeros(len(tokens), dtype=bool)
        count = math.floor(share * len(tokens) + 0.5)
        if count:
            keys = [self._digest("missing", modality, token) for token in tokens]
            out[sorted(range(len(tokens)), key=keys.__getitem__)[:count]] = True
        return out

    def disturbed(self, modality: str, tokens: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Return rows (n, d) float32 with the noise of their items; themselves where it is 0."""
        level = self.noise.get(modality, 0.0)
        if not level:
            return rows
        out = np.empty(rows.shape, dtype=np.float32)
        for k, token in enumerate(tokens):
            seed = int.from_bytes(self._digest("noise", modality, token), "big")
            g = np.random.default_rng(seed).standard_normal(rows.shape[1])
            # In double precision: squares of float32 values overflow float32.
            x = rows[k].astype(np.float64)
            out[k] = x + level * np.linalg.norm(x) / np.linalg.norm(g) * g
        return out

    def facts(self) -> dict | None:
        """Return it as plain values, for fingerprints and records; None where nothing happens."""
        if not self.modalities:
            return None
        return {"noise": dict(sorted(self.noise.items())),
                "missing": dict(sorted(self.missing.items())),
                "dropped": list(self.dropped), "seed": self.seed}

    def _digest(self, *parts: str) -> bytes:
        text = "\0".join([str(self.seed), *parts])
        return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()


CLEAN = Corruption()


def _names(value) -> list:
    return [value] if isinstance(value, str) else list(value or ())
