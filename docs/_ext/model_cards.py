"""What model cards say that is written down elsewhere: profiles, results, published figures, cost.

Results and cost are rows of the tables in benchmarks/README.md, found by the heading above them;
published figures are those of properties/published. Sphinx is not needed to read them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import yaml

from recbole_ssr import registry

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks" / "README.md"
NOT_MEASURED = "Not measured yet."
# The bundled forms of models that are published under another name.
_PUBLISHED_AS = {"FastLightGCN": "LightGCN", "FastSGL": "SGL"}
_METRICS = {"recall@10": "Recall@10", "recall@20": "Recall@20", "ndcg@10": "NDCG@10",
            "ndcg@20": "NDCG@20"}


class Table(NamedTuple):
    """A table of Markdown, or one in plain text whose columns are parted likewise."""

    header: list[str]
    rows: list[list[str]]

    def without(self, columns: tuple[str, ...]) -> Table:
        kept = [k for k, name in enumerate(self.header) if name not in columns]
        return Table([self.header[k] for k in kept], [[row[k] for k in kept] for row in self.rows])


class Measured(NamedTuple):
    """A table of the benchmarks of which cards show a model's rows.

    `heading` is the section's, `place` that of the table in it, `caption` says what was measured on
    what. Where `only` names a model, all rows are its own.
    """

    heading: str
    caption: str
    place: int = 0
    without: tuple[str, ...] = ()
    only: str | None = None


RESULTS = (
    Measured("SSR against every bundled baseline",
             "TikTok, test part; every model on the loss of its own paper with the setting that "
             "validation chose, seed 2020 where nothing else is said",
             without=("s per epoch", "peak MiB", "parameters")),
    Measured("The bundled baselines: TikTok",
             "TikTok, an earlier run with other seeds; `paper` is the model's own loss, `common` a "
             "sampled softmax of cosines, the same for all; `.1149±27` is .1149±.0027",
             without=("published†",)),
    Measured("The bundled baselines: TikTok", "The settings that validation chose in that run",
             place=1, without=("s/ep", "ep", "MiB", "parameters")),
    Measured("SSR's defaults",
             "Amazon Baby, LATTICE's split, one seed where no other number is said"),
    Measured("Ids alone: Amazon Baby", "Amazon Baby, LATTICE's split, ids alone, one seed"),
    Measured("A comparison that is killed and given again: ml-100k",
             "ml-100k, test part, three seeds, the defaults of that time"),
    Measured("New items",
             "ml-100k, items without any interaction in training, ranked by their text, one seed"),
)
COST = (
    Measured("Training steps of the baselines against COO products",
             "A training step on TikTok, batch 2048, two CPU threads; `ours / COO` is against the "
             "same model on sparse products in COO form"),
    Measured("Training step: SSR against RecBole's LightGCN",
             "A training step, batch 2048, two CPU threads, against LightGCN of width 64",
             only="SSR"),
    Measured("On a GPU", "A training step on TikTok, batch 2048, one NVIDIA H200"),
    Measured("Memory of the baselines at 100,000 items",
             "Peak memory of a process: 50,000 users, 100,000 items with 384 features; the data "
             "alone take 604 MiB"),
)


def pages() -> dict[str, str]:
    """Return the text of `results-<MODEL>.md`, `profiles-<MODEL>.md` and `published-notes.md`."""
    benchmarks = BENCHMARKS.read_text(encoding="utf-8")
    found = {"published-notes.md": published_notes()}
    for model in registry.MODELS:
        found[f"results-{model}.md"] = results(model, benchmarks)
        found[f"profiles-{model}.md"] = profiles(model)
    return found


def results(model: str, benchmarks: str) -> str:
    """Return a card's sections of results and cost. `benchmarks` is benchmarks/README.md."""
    return (f"### Measured here\n\n{_rows(model, benchmarks, RESULTS)}\n"
            f"### Published\n\n{published(model)}\n"
            f"## Cost\n\n{_rows(model, benchmarks, COST)}")


def _rows(model: str, benchmarks: str, places: tuple[Measured, ...]) -> str:
    parts = []
    for place in places:
        rows = _rows_of(model, place, benchmarks)
        if rows:
            link = f"[{place.heading}](../benchmarks/results.md#{_anchor(place.heading)})"
            parts.append(f"{place.caption} ({link}):\n\n{_markdown(rows)}\n")
    return "\n".join(parts) or f"{NOT_MEASURED}\n"


def _anchor(heading: str) -> str:
    """Return the anchor that MyST, as GitHub, gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _rows_of(model: str, place: Measured, benchmarks: str) -> Table | None:
    tables = tables_below(benchmarks, place.heading)
    if place.place >= len(tables):
        raise ValueError(f"benchmarks/README.md has {len(tables)} tables below the heading "
                         f"{place.heading!r}; docs/_ext/model_cards.py reads number "
                         f"{place.place + 1}: name the heading there as it is now")
    table = tables[place.place]
    if place.only is None:
        names = re.compile(rf"{model}(?!\w)")
        rows = [row for row in table.rows if names.match(row[0])]
    else:
        rows = table.rows if place.only == model else []
    said = (table.header[0],) if all(row[0] == model for row in rows) else ()
    return table._replace(rows=rows).without((*place.without, *said)) if rows else None


def tables_below(text: str, heading: str) -> list[Table]:
    """Return the tables of a section of Markdown that name a model or a line, or stand alone."""
    section = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    if section is None:
        return []
    blocks = re.findall(r"(?:^[^\n]*\|[^\n]*\n)+", section[2], re.M)
    tables = [_table(block) for block in blocks]
    named = [t for t in tables if t and t.header[0] in ("model", "line")]
    return named or [t for t in tables if t]


def _table(block: str) -> Table | None:
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")]
             for line in block.splitlines()]
    if len(lines) < 3 or not all(re.fullmatch(r":?-+:?", cell) for cell in lines[1]):
        return None
    header, _, *rows = lines
    return Table(header, [row + [""] * (len(header) - len(row)) for row in rows])


def published(model: str) -> str:
    """Return what others report of a model, one table over all splits."""
    rows, notes = [], []
    for file in sorted((registry.properties_folder() / "published").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        split = _split(text)
        content = yaml.safe_load(text)
        left_out = content.get("incomparable", {})
        for figure in content["figures"]:
            if figure["model"] == _PUBLISHED_AS.get(model, model):
                rows.append(_published_row(split, content, figure, left_out))
                notes += [f"{_METRICS[metric]} on {split} is left out: {why}."
                          for metric, why in left_out.items()]
    if not rows:
        return "No published figures are recorded.\n"
    header = ["split", *_METRICS.values(), "source"]
    return "\n\n".join([_markdown(Table(header, rows)), *dict.fromkeys(notes)]) + "\n"


def _published_row(split: str, content: dict, figure: dict, left_out: dict) -> list[str]:
    values = dict(zip(content["metrics"], figure["values"]))
    source = content["sources"][figure["source"]]
    said = [source["title"], source.get("note"), figure.get("note")]
    return [split, *(_short(None if m in left_out else values.get(m)) for m in _METRICS),
            "; ".join(filter(None, said))]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".lstrip("0")


def published_notes() -> str:
    """Return what readers of all published figures must know, splits with the same notes in one."""
    splits: dict[str, list[str]] = {}
    for file in sorted((registry.properties_folder() / "published").glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        notes = " ".join(yaml.safe_load(text)["notes"])
        splits.setdefault(notes, []).append(_split(text))
    return "".join(f"- **{'; '.join(names)}**: {notes}\n" for notes, names in splits.items())


def _split(text: str) -> str:
    """Return the first words of a file of published figures, which name data and split."""
    return re.match(r"# (.*?):", text)[1]


def profiles(model: str) -> str:
    """Return a list of a model's profiles: what each is for and what it sets."""
    folder, items = registry.properties_folder() / "model", []
    for profile in registry.profiles_of(model):
        file = folder / f"{model}.{profile}.yaml"
        if not file.is_file():
            items.append(f"- `{profile}`: the defaults, below.")
            continue
        text = file.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
        del settings["profile"]
        said = re.sub(rf"^{model}, profile {profile}: ", "", _first_comment(text))
        sets = ", ".join(f"`{key}: {_value(value)}`" for key, value in settings.items())
        items.append(f"- `{profile}`: {said} It sets {sets}.")
    return "\n".join(items) + "\n"


def _first_comment(text: str) -> str:
    comment = re.match(r"(?:#[^\n]*\n)+", text)[0]
    return " ".join(line.lstrip("# ").strip() for line in comment.splitlines())


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    return yaml.safe_dump(value, default_flow_style=True).splitlines()[0]


def _markdown(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
