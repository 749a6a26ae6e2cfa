"""Figures that others report, for the same split only.

They lie in properties/published, one yaml for a split. Amazon Baby, Sports and Clothing each have
two published splits with the same users and items, so that a name and two counts prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from recbole_ssr.comparison import Published
from recbole_ssr.flags import read_config_file
from recbole_ssr.registry import properties_folder
from recbole_ssr.report.protocol_words import ranking_words

FOLDER = "published"
Parts = tuple[int, int, int]  # interactions for training, validation and test


class _Table(NamedTuple):
    """The figures of one split: the content of a yaml."""

    name: str
    split: dict
    notes: list[str]
    sources: dict[str, dict]
    metrics: list[str]
    figures: list[dict]
    incomparable: dict[str, str]

    def entries(self) -> tuple[Published, ...]:
        """Return all figures, without the metrics that do not compare: the notes have these."""
        return tuple(self._entry(figure) for figure in self.figures)

    def _entry(self, figure: Mapping) -> Published:
        source = self.sources[figure["source"]]
        printed = {metric: value for metric, value in zip(self.metrics, figure["values"])
                   if value is not None}
        notes = [note for note in (source.get("note"), figure.get("note")) if note]
        notes += [f"printed {metric} {printed.pop(metric)} does not compare"
                  for metric in self.incomparable if metric in printed]
        return Published(figure["model"], printed, source["title"], "; ".join(notes))


def published_for(dataset: str, protocol: Mapping[str, object], parts: Parts | None = None
                  ) -> tuple[tuple[Published, ...], tuple[str, ...]]:
    """Return what others report on the split of a comparison, and what readers must know of it.

    A known fingerprint decides. Where none is known, the split must be one that came with the data
    and agree in users, items and the size of every part. On another split there are no figures, and
    the notes say why.

    Args:
        dataset: name of the data set, which helps to say why nothing is shown.
        protocol: of the runs, as in `RunResult`.
        parts: interactions for training, validation and test.
    """
    table, notes = _look_up(dataset, protocol, parts)
    if table is None:
        return (), notes
    notes = [*notes, *table.notes]
    masked = table.split["masked"]
    if masked is not None and masked != protocol["masked"]:
        notes.append(f"The published figures mask {masked} in the test ranking, these runs "
                     f"{protocol['masked']}.")
    notes += [f"{metric} as published is left out: {why}."
              for metric, why in table.incomparable.items()]
    return table.entries(), tuple(f"Published figures: {note}" for note in notes)


def _look_up(dataset: str, protocol: Mapping[str, object],
             parts: Parts | None) -> tuple[_Table | None, tuple[str, ...]]:
    """Return the table of the split, and a note on how sure that is; or None, and why."""
    tables = _tables()
    if protocol["ranking"] != "full":
        return None, (f"No published figures are shown: they rank all items, these runs "
                      f"have {ranking_words(protocol['ranking'])}.",)
    fingerprint = protocol["split_fingerprint"]
    for table in tables:
        if table.split["fingerprint"] == fingerprint is not None:
            return table, ()
    reasons = []
    for table in tables:
        if not _of_these_data(table, dataset, protocol):
            continue
        reason = _other_split(table, protocol, parts)
        if reason is None:
            return table, (f"name and sizes of the split are those of {table.split['title']}; "
                           "whether every interaction is in the same part could not be checked.",)
        reasons.append(f"Published figures of {table.name} are not shown: {reason}.")
    if not reasons:
        known = ", ".join(table.name for table in tables)
        reasons.append(f"No published figures are known for {dataset}; there are some for {known}.")
    return None, tuple(reasons)


def _of_these_data(table: _Table, dataset: str, protocol: Mapping[str, object]) -> bool:
    """Tell whether a table may be about these data: by name, or by users and items."""
    split = table.split
    return dataset == table.name or (split["users"], split["items"]) == (
        protocol["users"], protocol["items"])


def _other_split(table: _Table, protocol: Mapping[str, object], parts: Parts | None) -> str | None:
    """Return why the split of a table is not that of the runs, or None where nothing says so."""
    split = table.split
    theirs = f"they are on {split['title']}"
    if split["fingerprint"] is not None:
        return f"{theirs}, whose interactions are split or numbered otherwise"
    if protocol["split"] != split["name"]:
        return (f"{theirs}, the runs on the split {protocol['split']!r}; import those files with "
                "recbole-ssr prepare --from to compare")
    if parts is None:
        return f"{theirs}, and the sizes of the parts, which would tell, are not known"
    ours = (protocol["users"], protocol["items"], *parts)
    if ours != (split["users"], split["items"], *split["parts"]):
        return (f"{theirs} with {_sizes(split['users'], split['items'], *split['parts'])}, the "
                f"runs on {_sizes(*ours)}")
    return None


def _sizes(users: int, items: int, *parts: int) -> str:
    of_parts = " / ".join(f"{part:,}" for part in parts)
    return f"{users:,} users, {items:,} items and {of_parts} interactions"


@lru_cache(maxsize=1)
def _tables() -> tuple[_Table, ...]:
    files = sorted((properties_folder() / FOLDER).glob("*.yaml"))
    return tuple(_Table(file.stem, **{"incomparable": {}, **read_config_file(file)})
                 for file in files)
