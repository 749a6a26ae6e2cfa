"""Settings of data and evaluation that must fit each other: metrics, cut-offs, split and mode."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from recbole.evaluator.register import (
    metric_information,
    metric_types,
    metrics_dict,
    smaller_metrics,
)
from recbole.utils import EvaluatorType

from recbole_ssr.errors import UserError, nearest

MOST_NEGATIVES = 10_000  # of uniN and popN, drawn for every interaction that is evaluated
# Whether each leaves a validation part, and a test part.
LEAVE_ONE_OUT = {"valid_and_test": (True, True), "valid_only": (True, False),
                 "test_only": (False, True)}
# Of RecBole; it leaves files that are split already as they are.
_FILTERS = ("val_interval", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval")
_MODE = re.compile(r"full|labeled|(?:uni|pop)([1-9]\d*)$")

# How a message names a setting: key, value and where the value came from.
Named = Callable[[str, object], str]


def check_evaluation(final: dict, named: Named) -> None:
    """Bring `metrics` and `topk` into lists; raise UserError for settings that cannot be honoured.

    `final` are all settings, each of its own right type, before RecBole has read them.
    """
    check_metrics(final, named)
    _check_direction(final, named)
    if "split" in final["eval_args"]:  # RecBole fills in what a dataset's yaml leaves out
        check_split(final["eval_args"]["split"], named)
    modes = modes_of(final["eval_args"].get("mode", "full"), named)
    _check_kind(final, set(modes.values()), named)
    check_threshold(final, modes, named)
    _check_dynamic(final.get("train_neg_sample_args"), named)


def check_metrics(final: dict, named: Named) -> None:
    """Bring `metrics` and `topk` into lists; check them and that they hold `valid_metric`."""
    names = [metrics_dict[known].__name__ for known in metric_types]
    for key in ("metrics", "topk"):
        final[key] = list(final[key]) if isinstance(final[key], (list, tuple)) else [final[key]]
    metrics, topk = final["metrics"], final["topk"]
    for metric in metrics:
        if metric.lower() not in metric_types:
            raise UserError(f"{named('metrics', metrics)}: there is no metric {metric!r}."
                            f"{nearest(metric, names)} Known are {', '.join(names)}.")
    if len({metric_types[metric.lower()] for metric in metrics}) != 1:
        raise UserError(f"{named('metrics', metrics)} must name metrics of one kind: ranking "
                        "metrics, or value metrics such as AUC and LogLoss.")
    chosen = named("valid_metric", final["valid_metric"])
    name, _, cutoff = final["valid_metric"].partition("@")
    if name.lower() not in metric_types:
        raise UserError(f"{chosen}: there is no metric {name!r}.{nearest(name, names)}")
    if name.lower() not in [metric.lower() for metric in metrics]:
        raise UserError(f"{chosen} is not computed. Add {name} to metrics, which is {metrics}.")
    if {"rec.topk", "rec.items"}.isdisjoint(metric_information[name.lower()]):
        if cutoff:
            raise UserError(f"{chosen}: {name} has no cut-off. Write valid_metric={name}.")
    elif cutoff not in map(str, topk):
        remedy = f"Add {cutoff} to" if cutoff.isdigit() else f"Write {name}@k with a k from"
        raise UserError(f"{chosen} is not computed. {remedy} topk, which is {topk}.")


def of_a_kind(metrics: object, topk: object) -> dict:
    """Return settings of what selects that fit metrics and cut-offs, whatever a run selected by.

    There are none where nothing is asked for; :func:`check_metrics` says what is wrong then.
    """
    metrics, topk = ([*value] if isinstance(value, (list, tuple)) else [value]
                     for value in (metrics, topk))
    if not (metrics and topk):
        return {}
    name = str(metrics[0]).lower()
    cut = not {"rec.topk", "rec.items"}.isdisjoint(metric_information.get(name, ()))
    return {"valid_metric": f"{metrics[0]}@{topk[0]}" if cut else str(metrics[0]),
            "valid_metric_bigger": name not in smaller_metrics}


def _check_direction(final: dict, named: Named) -> None:
    bigger = final["valid_metric"].partition("@")[0].lower() not in smaller_metrics
    shown = named("valid_metric_bigger", final["valid_metric_bigger"])
    if "default" not in shown and final["valid_metric_bigger"] != bigger:
        raise UserError(f"{shown} cannot be honoured: for {final['valid_metric']} it is {bigger}. "
                        "Leave it out.")


def check_split(split: object, named: Named) -> None:
    """Raise UserError unless `split` is {RS: shares}, {TS: shares} or {LS: name}."""
    shown = named("eval_args", {"split": split})
    if not isinstance(split, dict) or len(split) != 1:
        raise UserError(f"{shown} must have one rule, for instance {{RS: [0.8, 0.1, 0.1]}} or "
                        "{LS: valid_and_test}.")
    (rule, how), = split.items()
    if rule == "LS":
        if how not in LEAVE_ONE_OUT:
            raise UserError(f"{shown}: LS must be one of {', '.join(LEAVE_ONE_OUT)}."
                            f"{nearest(how, LEAVE_ONE_OUT)}")
    elif rule in ("RS", "TS"):
        shares = how if isinstance(how, list) else []
        numbers = all(isinstance(share, (int, float)) and not isinstance(share, bool)
                      and 0 <= share < math.inf for share in shares)
        if len(shares) != 3 or not numbers or not 0 < sum(shares) < math.inf:
            raise UserError(f"{shown}: {rule} must be the shares of train, valid and test, for "
                            "instance [0.8, 0.1, 0.1].")
        if not shares[0] or not any(shares[1:]):
            raise UserError(f"{shown} leaves nothing to {'measure' if shares[0] else 'train'} on. "
                            "Give every part that is needed a share above 0.")
    else:
        raise UserError(f"{shown}: there is no rule {rule!r}. Use RS, LS or TS.")


def parts_of(split: dict) -> tuple[bool, bool]:
    """Tell whether a checked split is to have a validation part, and a test part."""
    (rule, how), = split.items()
    return LEAVE_ONE_OUT[how] if rule == "LS" else (how[1] > 0, how[2] > 0)


def given_split(settings: Mapping) -> str | None:
    """Return what results call a split that the data bring; None where eval_args draws it."""
    column, files = settings["split_column"], settings["benchmark_filename"]
    if column:
        return settings["split_name"] or f"split by {column}"
    return f"files {', '.join(files)}" if files else None


def check_given_split(final: dict, asked: Mapping[str, object], named: Named) -> None:
    """Raise UserError for settings that a split of the data's own would pass over in silence.

    Args:
        final: all settings.
        asked: those of the user that are not the default's; eval_args without its mode.
    """
    files = final.get("benchmark_filename")
    if files is not None and len(files) != 3:
        raise UserError(f"{named('benchmark_filename', files)} must name three files, of training, "
                        "validation and test, as in [train, valid, test].")
    key = "split_column" if final.get("split_column") else "benchmark_filename"
    if not final.get(key):
        return
    if asked.get("eval_args"):
        raise UserError(f"{named('eval_args', asked['eval_args'])} has no effect: "
                        f"{named(key, final[key])} decides the split. Leave it out, or let "
                        f"eval_args split with --{key}=null.")
    for name in _FILTERS if files else ():
        if name in asked:
            raise UserError(f"{named(name, asked[name])} has no effect beside benchmark_filename, "
                            "whose files are taken as they are. Filter the files, or leave it out.")


def _check_kind(final: dict, modes: set[str], named: Named) -> None:
    """Values are of pairs with labels, ranks of a user's items: neither is had from the other."""
    shown = named("metrics", final["metrics"])
    kind = metric_types[final["metrics"][0].lower()]
    if kind == EvaluatorType.VALUE and "full" in modes:
        raise UserError(f"{shown} are of scored pairs, but eval_args has the mode full, which "
                        "ranks all items. Set mode to labeled, where there are labels, or to uniN.")
    if kind == EvaluatorType.RANKING and "labeled" in modes:
        raise UserError(f"{shown} are of rankings, but eval_args has the mode labeled, which "
                        "scores labelled pairs. Set mode to full, or metrics to [AUC, LogLoss].")


def _check_dynamic(sampling: object, named: Named) -> None:
    if isinstance(sampling, dict) and sampling.get("dynamic") and not sampling.get("candidate_num"):
        raise UserError(f"{named('train_neg_sample_args', sampling)}: dynamic sampling takes the "
                        "negative among candidates. Set candidate_num to 1 or more.")


def modes_of(mode: object, named: Named) -> dict[str, str]:
    """Return the mode of valid and test. Raises UserError for a mode that RecBole has not."""
    modes = mode if isinstance(mode, dict) else {"valid": mode, "test": mode}
    shown = named("eval_args", {"mode": mode})
    for part, name in modes.items():
        if part not in ("valid", "test"):
            raise UserError(f"{shown}: there is no part {part!r}. Name valid and test.")
        match = _MODE.match(str(name))
        if not match or int(match[1] or 0) > MOST_NEGATIVES:
            raise UserError(f"{shown}: {name!r} is no mode. Use full, labeled, or uniN and popN "
                            f"with N from 1 to {MOST_NEGATIVES}, as in uni100.")
    default = modes.get("valid", modes.get("test", "full"))
    modes = {part: modes.get(part, default) for part in ("valid", "test")}
    if modes["valid"] == "labeled" != modes["test"]:
        raise UserError(f"{shown}: where validation scores labelled pairs, RecBole has no sampler "
                        "for the test. Give both the mode labeled.")
    return modes


def check_threshold(final: dict, modes: dict[str, str], named: Named) -> None:
    """Raise UserError for a `threshold` whose labels nothing would read."""
    threshold, sampling = final.get("threshold"), final.get("train_neg_sample_args")
    if threshold is None:
        return
    shown = named("threshold", threshold)
    if len(threshold) != 1:
        raise UserError(f"{shown} must name one column, for instance {{rating: 4}}.")
    sampled = isinstance(sampling, dict) and sampling.get("distribution") not in (None, "none")
    if sampled and "labeled" not in modes.values():
        column, value = next(iter(threshold.items()))
        raise UserError(
            f"{shown} makes labels, and nothing here reads them: every interaction is a positive "
            f"one. To keep the rest out of the data write val_interval={{{column}: "
            f"\"[{value:g},inf)\"}}; to evaluate labels, eval_args={{mode: labeled}} with AUC."
        )
