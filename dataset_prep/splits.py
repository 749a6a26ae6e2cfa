"""Splits by name or by file: which rule, and with what seed and ratios.

Each yaml in ``recbole_ssr/properties/split`` is a split of that name. A file of the user names its
``rule`` and what differs from the yaml of that rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.split_rules import RULES, TIMED, Ratios
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file

PARTS = ("train", "valid", "test")
_KEYS = ("rule", "seed", "ratios", "title")


@dataclass(frozen=True)
class Split:
    """A rule of split_rules.RULES with its settings.

    Attributes:
        name: what results call it, with {ratios} for the ratios and without the seed.
        seed: None where nothing is drawn.
        ratios: of train, valid and test, or of the first two; sum 1, or None.
    """

    rule: str
    name: str
    seed: int | None = None
    ratios: Ratios | None = None

    @property
    def title(self) -> str:
        """What results show, for instance "MMRec random 8:1:1 per user, seed 2020"."""
        ratios = _ratio_text(self.ratios) if self.ratios else ""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return self.name.replace("{ratios}", ratios) + seed

    def with_seed(self, seed: int) -> Split:
        """Return the split under another seed; the same split where nothing is drawn."""
        if self.seed is None:
            return self
        return replace(self, seed=_seed(seed, "split_seed"))


def split_names() -> tuple[str, ...]:
    """Return the names that :func:`read_split` knows."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def read_split(name_or_file: str | Path) -> Split:
    """Return the split of a name, or of a yaml file.

    Raises UserError for unknown names, rules and keys, and for values of the wrong kind.

    >>> read_split("ratio").rule
    'ratio'
    """
    asked, names = str(name_or_file), split_names()
    if asked in names:
        return _split_of(read_config_file(_shipped(asked)), f"The split {asked}")
    if not (Path(asked).suffix in (".yaml", ".yml") or Path(asked).is_file()):
        raise UserError(f"There is no split {asked!r}.{nearest(asked, names)} Choose one of "
                        f"{', '.join(names)}, or name a yaml file.")
    return _split_of(read_config_file(asked), asked)


def label(interactions: Interactions, split: Split) -> np.ndarray:
    """Return (n,) int8 labels of the rows: 0 train, 1 valid, 2 test.

    Raises UserError if the rule needs what the interactions lack, and if a part stays empty.
    """
    if split.rule in TIMED and interactions.timestamps is None:
        raise UserError(
            f"The split {split.rule} orders by time, and the interactions have no timestamps. Name "
            "their column with --time_column, or choose a split without time, for instance "
            f"--split={_WITHOUT_TIME.get(split.rule, 'ratio')}."
        )
    if len(interactions) == 0:
        raise UserError("There are no interactions to split. Bring some.")
    labels = RULES[split.rule](interactions, split.seed, split.ratios)
    counts = np.bincount(labels, minlength=len(PARTS))
    if not counts.all():
        sizes = ", ".join(f"{count:,} {part}" for count, part in zip(counts, PARTS))
        raise UserError(
            f"The split {split.rule} ({split.title}) of {len(interactions):,} interactions leaves "
            f"a part empty: {sizes}. Bring more interactions, or choose another --split or other "
            "ratios; published-test draws a validation part that the data lack."
        )
    return labels


_WITHOUT_TIME = {"leave-one-out": "leave-one-out-random", "temporal-ratio-global": "ratio-global"}


def _folder() -> Path:
    return Path(str(files("recbole_ssr.properties")), "split")


def _shipped(name: str) -> Path:
    return _folder() / f"{name}.yaml"


def _split_of(rules: Mapping[str, object], source: str) -> Split:
    """Check the keys and values of a yaml, over those of the yaml of its rule."""
    rule = rules.get("rule")
    if str(rule) not in RULES:
        problem = ("has no rule." if rule is None else
                   f"has the unknown rule {rule!r}.{nearest(rule, RULES)}")
        raise UserError(f"{source} {problem} Write 'rule:' with one of {', '.join(RULES)}.")
    defaults = read_config_file(_shipped(rule))
    for key in rules:
        if key in defaults:
            continue
        if key in _KEYS:
            raise UserError(f"{source}: {key} has no meaning for the rule {rule}, which has only "
                            f"{', '.join(defaults)}. Remove it.")
        raise UserError(f"{source} has the unknown key {key!r}.{nearest(key, defaults)} The rule "
                        f"{rule} has {', '.join(defaults)}.")
    values = {**defaults, **rules}
    title = values["title"]
    if not isinstance(title, str) or not title.strip() or not title.isprintable():
        raise UserError(f"{source}: title is {title!r}. Write one line of text.")
    seed = _seed(values["seed"], f"{source}: seed") if "seed" in values else None
    ratios = None
    if "ratios" in values:
        ratios = _ratios(values["ratios"], source, PARTS[:len(defaults["ratios"])])
    return Split(rule, title, seed, ratios)


def _seed(value: object, shown: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise UserError(f"{shown} is {value!r}. Write a whole number from 0 on, for instance 2020.")
    return value


def _ratios(value: object, source: str, parts: tuple[str, ...]) -> Ratios:
    """Return the ratios with sum 1, divided as RecBole divides them."""
    numbers = value if isinstance(value, list) else []
    are_shares = all(type(n) in (int, float) and 0 < n < math.inf for n in numbers)
    if len(numbers) != len(parts) or not are_shares:
        raise UserError(f"{source}: ratios is {value!r}. Write {len(parts)} numbers above 0, of "
                        f"{', '.join(parts)}, for instance {[0.8, 0.1, 0.1][:len(parts)]}.")
    total = sum(numbers)
    return tuple(number / total for number in numbers)


def _ratio_text(ratios: Ratios) -> str:
    """Return 8:1:1 for (.8, .1, .1), percents where tenths are too coarse."""
    for whole in (10, 100):
        shares = [share * whole for share in ratios]
        if all(math.isclose(share, round(share), abs_tol=1e-9) for share in shares):
            return ":".join(str(round(share)) for share in shares)
    return ":".join(f"{100 * share:.4g}" for share in ratios)
