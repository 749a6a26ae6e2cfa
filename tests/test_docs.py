"""The pages of docs/, read as text: model cards are complete, links lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

from recbole_ssr.registry import MODELS, profiles_of

DOCS = Path(__file__).resolve().parents[1] / "docs"
CARDS = DOCS / "models"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_generated" not in page.parts)
MADE = "_generated"  # written by every build of the site


def load_model_cards():
    spec = importlib.util.spec_from_file_location("model_cards", DOCS / "_ext/model_cards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cards = load_model_cards()


@pytest.fixture(scope="module")
def made():
    return cards.pages()


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_a_card_that_is_in_the_index(model, made):
    card = (CARDS / f"{model}.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {model}\n")
    assert "## Equations\n" in card and "$$" in card
    for part in ("settings", "results", "profiles"):
        assert f"```{{include}} ../_generated/{part}-{model}.md\n" in card
    for profile in profiles_of(model):
        assert f"- `{profile}`: " in made[f"profiles-{model}.md"]
    index = (CARDS / "index.md").read_text(encoding="utf-8")
    assert f"\n| [{model}]({model}.md) |" in index
    toctree = re.search(r"```\{toctree\}\n(.*?)```", index, re.S)[1]
    assert model in toctree.split()


def test_a_card_copies_the_rows_of_the_benchmarks(made):
    row = next(line for line in cards.BENCHMARKS.read_text(encoding="utf-8").splitlines()
               if line.startswith("| FREEDOM | .06"))
    recalls = [cell.strip() for cell in row.split("|")][2:4]
    assert f"\n| FREEDOM | {recalls[0]} | {recalls[1]} |" in made["results-FREEDOM.md"]
    assert "| Amazon Baby on MMRec's split | .0627 | .0992 | .0330 | .0424 | MMRec, evaluation " \
           "README |" in made["results-FREEDOM.md"]
    # Published as LightGCN.
    assert "| .0479 | .0754 |" in made["results-FastLightGCN.md"].split("### Published")[1]


def test_rows_are_of_the_model_alone_and_no_row_says_so():
    place = cards.Measured("Speed", "ms on a machine", without=("seeds",))
    text = ("# All\n\n## Speed\n\n| model | seeds | ms |\n| :-- | --: | --: |\n| SSR | 3 | 5 |\n"
            "| SSR-tiktok | 3 | 7 |\n| SSRX | 3 | 9 |\n\n## Other\n\n"
            "| model | ms |\n|---|---|\n| SSR | 1 |\n")
    assert cards._rows("SSR", text, (place,)).endswith(
        "| model | ms |\n| --- | --- |\n| SSR | 5 |\n| SSR-tiktok | 7 |\n")
    assert cards._rows("SSRX", text, (place,)).endswith("| ms |\n| --- |\n| 9 |\n")
    assert cards._rows("VBPR", text, (place,)) == "Not measured yet.\n"
    with pytest.raises(ValueError, match=r"0 tables below the heading 'Speed'"):
        cards._rows("SSR", "# All\n", (place,))


def test_tables_in_plain_text_are_read_and_inflated_figures_left_out():
    (table,) = cards.tables_below("## A\n\n```\nmodel | x\n----- | --\nBM3   | .1±2\n```\n", "A")
    assert table == (["model", "x"], [["BM3", ".1±2"]])
    lgmrec = cards.published("LGMRec")  # LATTICE's split inflates NDCG
    assert "| Amazon Sports and Outdoors on LATTICE's split |  | .1007 |  |  |" in lgmrec
    assert "inflates it" in lgmrec


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_relative_link_leads_to_a_file(page):
    text = re.sub(r"```(?!\{).*?```|\$\$.*?\$\$", "", page.read_text(encoding="utf-8"), flags=re.S)
    text = re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", text)
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", text)
    links += re.findall(r"```\{(?:include|literalinclude|image|figure)\} (\S+)", text)
    for link in links:
        file = link.partition("#")[0]
        if not file or re.match(r"\w+:", link) or MADE in Path(file).parts:
            continue
        assert (page.parent / file).exists(), link
