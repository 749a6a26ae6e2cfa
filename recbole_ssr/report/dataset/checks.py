"""What to know about a dataset before training on it, each in a sentence with its status."""

from __future__ import annotations

from recbole_ssr.report.dataset.record import Check, Degrees, Modality, Part
from recbole_ssr.report.sheet import first_up

OK, NOTE, PROBLEM = "ok", "note", "problem"


def split_checks(parts: list[Part], overlaps: dict[str, int], repeatable: bool) -> list[Check]:
    """Judge the split: empty parts, leaks, repeats, what training has never seen, times.

    `repeatable`: a user may be asked again for items of the training part, as the setting says.
    """
    held = parts[1:]
    checks = [_empty(parts), _leaks(overlaps, repeatable), _repeats(parts)]
    checks += [_cold(held, "users", "No model knows more about them than that they exist"),
               _cold(held, "items", "Only their features can bring them up")]
    if any(part.older is not None for part in held):
        checks.append(_times(held))
    return checks


def feature_checks(modalities: list[Modality], scaling: str | None, fill: str | None,
                   items: int, idle_featured: int) -> list[Check]:
    """Judge the item features: missing, zero and repeated rows, scales."""
    if not modalities:
        return [Check("item features", NOTE, "There are none: only models that use nothing but "
                      "ids, such as BPR and LightGCN, can be trained.")]
    checks = [_missing(modalities, items, fill), _zero(modalities), _repeated(modalities),
              _unused(modalities)]
    if len(modalities) > 1:
        checks.append(_scales(modalities, scaling))
    if idle_featured:
        checks.append(Check("items without interactions", NOTE, f"{idle_featured:,} items have "
                            "features but no interaction in any part. They are ranked like all "
                            "others."))
    return checks


def degree_checks(users: Degrees, items: Degrees) -> list[Check]:
    """Judge the numbers of users and items without any interaction."""
    idle = _count({"users": users.none, "items": items.none})
    if not idle:
        return [Check("idle users and items", OK, "Every user and item has an interaction.")]
    return [Check("idle users and items", NOTE, f"{idle} have no interaction in any part but take "
                  "part in the ranking.")]


def _empty(parts: list[Part]) -> Check:
    empty = [part.name for part in parts if not part.interactions]
    if not empty:
        return Check("parts", OK, "Every part of the split has interactions.")
    return Check("parts", PROBLEM, f"The {' and the '.join(empty)} part has no interaction. "
                 "Training, selection and testing need one each; change the split.")


def _leaks(overlaps: dict[str, int], repeatable: bool) -> Check:
    leaks = {names: count for names, count in overlaps.items() if count}
    if not leaks:
        return Check("leaks", OK, "No pair of user and item is in two parts.")
    text = "; ".join(f"{names} share {count:,} pairs of user and item"
                     for names, count in leaks.items())
    if repeatable:
        return Check("leaks", NOTE, f"{first_up(text)}, as repeatable allows.")
    return Check("leaks", PROBLEM, f"{first_up(text)}. A model is asked for what it was trained "
                 "on or selected by, and its scores come out too high. Keep each pair in one part.")


def _repeats(parts: list[Part]) -> Check:
    repeated = _count({f"in {part.name}": part.repeats for part in parts})
    if not repeated:
        return Check("repeats", OK, "No part has a pair of user and item twice.")
    return Check("repeats", NOTE, f"Interactions that repeat a pair of user and item: {repeated}. "
                 "Repeated pairs weigh more in training; ranking counts each once.")


def _cold(held: list[Part], kind: str, meaning: str) -> Check:
    cold = [(part.name, getattr(part, f"cold_{kind}"), getattr(part, f"of_cold_{kind}"),
             part.interactions) for part in held]
    cold = [entry for entry in cold if entry[1]]
    name = f"{kind} without training"
    if not cold:
        return Check(name, OK, f"All {kind} of valid and test occur in train.")
    text = "; ".join(f"{nodes:,} {kind} of {part} ({rows / of:.2%} of its interactions)"
                     for part, nodes, rows, of in cold)
    return Check(name, NOTE, f"Without a training interaction: {text}. {meaning}.")


def _times(held: list[Part]) -> Check:
    older = {part.name: part.older for part in held if part.older is not None}
    if not any(older.values()):
        return Check("times", OK, "Nothing held out is older than the same user's training "
                     "interactions: the split predicts the future.")
    text = ", ".join(f"{share:.1%} of {name}" for name, share in older.items())
    return Check("times", NOTE, f"Older than the same user's newest training interaction: {text}. "
                 "The split does not separate past and future, as random splits do not.")


def _missing(modalities: list[Modality], items: int, fill: str | None) -> Check:
    missing = _count({f"of {m.name}": items - m.items for m in modalities})
    if not missing:
        return Check("missing features", OK, "Every item has a row of every modality.")
    filled = {"zero": "zeros", "mean": "the mean of the others"}.get(fill, str(fill))
    return Check("missing features", NOTE, f"Items without a row: {missing}. They get {filled} "
                 "(feature_fill), which bundled models but SSR's profile reference leave out.")


def _zero(modalities: list[Modality]) -> Check:
    zero = _count({f"of {m.name}": m.zero_rows for m in modalities})
    if not zero:
        return Check("zero rows", OK, "No stored row is all zeros.")
    return Check("zero rows", NOTE, f"Rows that are all zeros: {zero}. They say nothing, and "
                 "their items count as without a row.")


def _repeated(modalities: list[Modality]) -> Check:
    repeated = _count({f"of {m.name}": m.repeated_rows for m in modalities})
    if not repeated:
        return Check("equal rows", OK, "No two items share a vector.")
    return Check("equal rows", NOTE, f"Rows that equal one before: {repeated}. Their items have "
                 "the same content, or were filled with one vector.")


def _unused(modalities: list[Modality]) -> Check:
    unused = _count({f"of {m.name}": m.unused_rows for m in modalities})
    if not unused:
        return Check("unused rows", OK, "Every stored row belongs to an item of the dataset.")
    return Check("unused rows", NOTE, f"Rows of items that the dataset does not have: {unused}. "
                 "They are not used.")


def _scales(modalities: list[Modality], scaling: str | None) -> Check:
    means = {m.name: m.norms["mean"] for m in modalities}
    text = ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
    if scaling == "none" and max(means.values()) > 2 * min(means.values()):
        return Check("scales", NOTE, f"The mean norms differ ({text}) and feature_scaling is none: "
                     "the longest vectors weigh most wherever modalities are added up.")
    scaled = {"l2": "to unit rows", "standardise": "to unit columns"}.get(scaling, "by nothing")
    return Check("scales", OK, f"Mean norms as stored: {text}. feature_scaling scales {scaled}.")


def _count(numbers: dict[str, int]) -> str:
    """Return "3 of image, 1 of text" for what is not 0."""
    return ", ".join(f"{count:,} {name}" for name, count in numbers.items() if count)
