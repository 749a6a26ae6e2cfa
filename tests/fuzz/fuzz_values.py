"""Values for a setting: within its range, at the borders, outside, and of another type."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from recbole_ssr.settings import Interval, Setting

HUGE = 10**20
# A number within its range that large is taken, and a run of it takes long for good reasons.
_LARGE = 64
# What users write where something else was meant.
ODD = st.sampled_from([
    None, True, False, 0, 1, -1, 3, 2.5, float("nan"), float("inf"), float("-inf"), HUGE, -HUGE,
    "", " ", "3", "1e-3", "none", "None", "nan", "true", "text", "é", "a\nb", "x" * 300,
    [], [[]], [None], [1, "a"], ["text"], [[1]], {}, {"text": 1}, {"text": None}, {"a": {"b": 1}},
    "~", "[1, 2]", "*", "%", "{}",
])
_TEXTS = st.sampled_from(["text", "a b", "é", "x/y", "0", "", "user_id", "item_id", "part"])
_NAMES = st.sampled_from(["text", "image", "txt", "id", "TEXT", "user_id", "item_id", "part"])
_INTERVALS = st.sampled_from(["[0,inf)", "[5,inf)", "(9,inf)", "[9,9]", "[inf,0)", "[5", "5", "",
                              "[1,2,3]", "[a,b)", "(,)", "[5,inf);[0,3]", "[nan,nan]", ">=4"])


def mostly(usual: st.SearchStrategy, odd: st.SearchStrategy = ODD) -> st.SearchStrategy:
    """Draw `usual` nineteen times in twenty."""
    return st.integers(0, 19).flatmap(lambda k: odd if k == 19 else usual)


def values_of(setting: Setting) -> st.SearchStrategy:
    """Draw values for a setting: of its type mostly, inside of its range or around its borders."""
    kinds = [_of_kind(kind.split(" of "), setting) for kind in setting.type.split(" or ")]
    return mostly(st.one_of(kinds))


def _of_kind(kind: Sequence[str], setting: Setting) -> st.SearchStrategy:
    first, rest = kind[0], kind[1:] or ("any",)
    if first == "list":
        return st.lists(_of_kind(rest, setting), max_size=3)
    if first == "dict" and setting.entries:
        return st.fixed_dictionaries({}, optional={
            entry.name: values_of(entry) for entry in setting.entries})
    if first == "dict":
        names = mostly(st.sampled_from(setting.keys), _NAMES) if setting.keys else _NAMES
        return st.dictionaries(names, _of_kind(rest, setting), max_size=2)
    if first in ("int", "float", "number"):
        return _numbers(first, setting.range or Interval(-math.inf, math.inf))
    if first == "str" and setting.choices:
        return mostly(st.sampled_from(setting.choices), _slips(setting.choices))
    return {"str": _TEXTS, "bool": st.booleans(), "null": st.none(), "interval": _INTERVALS,
            "filter": st.one_of(_INTERVALS, st.lists(_TEXTS, max_size=2))}.get(first, ODD)


def _slips(words: Sequence[str]) -> st.SearchStrategy:
    return st.sampled_from(words).flatmap(
        lambda word: st.sampled_from([word.upper(), word[:-1], f" {word}", [word]]))


def _numbers(kind: str, bounds: Interval) -> st.SearchStrategy:
    low = max(bounds.low, -10.0)
    high = max(low, min(bounds.high, low + _LARGE))
    outside = [x for bound in bounds[:2] if math.isfinite(bound)
               for x in (bound - 1, bound + 1) if x not in bounds]
    if kind == "int":
        inside = st.one_of(st.integers(int(low), int(min(low + 6, high))),
                           st.sampled_from([int(low), int(high)]))
        odd = [*map(int, outside), -HUGE, HUGE, 2**31, 1.5, float("nan")]
        return mostly(inside, st.sampled_from(odd))
    inside = st.one_of(st.floats(low, min(low + 1, high)), st.floats(low, high),
                       st.sampled_from([low, high, min(low + 1e-8, high), int(high)]))
    odd = [*outside, -0.0, 1e-300, 1e38, 1e300, HUGE, *map(float, ("nan", "inf", "-inf"))]
    return st.integers(0, 9).flatmap(lambda k: st.sampled_from(odd) if k > 7 else inside)
