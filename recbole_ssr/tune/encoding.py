"""Settings as Optuna keeps them: numbers in ranges, and text for choices, which may be anything."""

from __future__ import annotations

import json
import math

from recbole_ssr.tune.space import Choice, Range, Space


class Encoding:
    """Between the settings of a space and the parameters of an Optuna trial."""

    def __init__(self, space: Space):
        self.space = space
        self._texts = {key: [_text(value) for value in dimension.values]
                       for key, dimension in space.dimensions.items()
                       if isinstance(dimension, Choice)}

    def params(self, settings: dict) -> dict:
        """Return the parameters of settings; a key whose value lies outside is left out."""
        params = {}
        for key, dimension in self.space.dimensions.items():
            if isinstance(dimension, Choice):
                if _text(settings[key]) in self._texts[key]:
                    params[key] = _text(settings[key])
            elif _within(dimension, settings[key]):
                params[key] = settings[key]
        return params

    def settings(self, params: dict) -> dict:
        """Return the settings of a full set of parameters."""
        return {key: json.loads(params[key]) if key in self._texts
                else self._on_step(key, params[key]) for key in self.space.dimensions}

    def _on_step(self, key: str, value: float) -> float:
        """Return a number of a range as Range.at has it, so that 3 steps of 0.1 are always 0.3."""
        dimension = self.space.dimensions[key]
        return round(value, 12) if dimension.step and not dimension.whole else value

    def suggest(self, trial, keys) -> dict:
        """Let an Optuna trial draw the parameters of `keys`."""
        return {key: self._suggest(trial, key, self.space.dimensions[key]) for key in keys}

    def _suggest(self, trial, key: str, dimension: Choice | Range) -> object:
        if isinstance(dimension, Choice):
            return trial.suggest_categorical(key, self._texts[key])
        low, high, log, step, whole = dimension
        if whole:
            return trial.suggest_int(key, low, high, log=log, step=step or 1)
        return trial.suggest_float(key, low, high, log=log, step=step)


def _text(value: object) -> str:
    return json.dumps(value, default=str)


def _within(dimension: Range, value: object) -> bool:
    """Tell whether a number lies in a range and on its steps."""
    if type(value) not in (int, float) or not dimension.low <= value <= dimension.high:
        return False
    step = dimension.step or (1 if dimension.whole else None)
    steps = (value - dimension.low) / step if step else 0
    return math.isclose(steps, round(steps), abs_tol=1e-9)
