"""When training stops, by the metric on the validation part."""

from __future__ import annotations

from recbole.utils import early_stopping

from recbole_ssr.errors import UserError, nearest


def strict_stopping(value: float, best: float, cur_step: int, max_step: int,
                    bigger: bool = True) -> tuple[float, int, bool, bool]:
    """Improve on larger values alone, so that ties keep the earlier epoch: the rule of MMRec.

    RecBole's rule takes a tie for an improvement, and starts to count anew. Both compare values
    rounded to `metric_decimal_place` and stop at the first evaluation with more than `max_step`
    in a row that did not improve.

    Returns, as `recbole.utils.early_stopping`: the best value, the evaluations since, whether to
    stop, whether this one improved.
    """
    if value > best if bigger else value < best:
        return value, 0, False, True
    return best, cur_step + 1, cur_step + 1 > max_step, False


RULES = {"recbole": early_stopping, "strict": strict_stopping}


def rule_of(name: str | None):
    """Return the rule of a `stopping_rule`, RecBole's where it is None. Raises UserError."""
    name = "recbole" if name is None else name
    if name not in RULES:
        raise UserError(f"stopping_rule is {name!r}; choose one of {', '.join(RULES)}."
                        f"{nearest(name, RULES)}")
    return RULES[name]
