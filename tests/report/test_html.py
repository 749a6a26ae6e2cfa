"""The report in one file: complete, escaped, offline, the same at every writing."""

import builtins
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_comparison import made_comparison, made_result

from recbole_ssr.comparison import Comparison, Curve, Failure, Group, Line, Published, Spread
from recbole_ssr.errors import UserError
from recbole_ssr.report.comparison import page as html
from recbole_ssr.report.comparison.plots import pictures
from recbole_ssr.report.comparison.rows import sheets

pytest.importorskip("jinja2")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ANCHORS = ["results", "failures", "learning", "significance", "groups", "beyond", "curves",
           "published", "protocol"]
HOSTILE = "</svg></script><script>alert(1)</script>\"' onload=x & <b> --> <!-- $x$"


class Page(HTMLParser):
    """Tags with their attributes, tables as lists of rows of cells, and which tags stay open."""

    VOID = {"meta", "link", "br"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self.open, self.texts = [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.rows = self.tables[attributes["id"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append(["", attributes.get("class", "").split()])

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1][0] += data

    def values(self, attribute):
        return [a[attribute] for _, a in self.tags if attribute in a]


def rendered(comparison):
    return html.render(comparison, pictures(comparison))


@pytest.fixture(scope="module")
def comparison():
    return made_comparison(3, 3)


@pytest.fixture(scope="module")
def text(comparison):
    return rendered(comparison)


def test_every_section_and_every_sheet_is_there_cell_by_cell(comparison, text):
    page = Page(text)
    assert [a["id"] for tag, a in page.tags if tag == "section"] == ANCHORS
    for sheet in sheets(comparison):
        rows = page.tables[f"table-{sheet.name}"][-len(sheet.rows):]
        assert [[cell for cell, _ in row] for row in rows] == [
            [cell.text for cell in row] for row in sheet.rows]
        assert all(cell.mark in classes or not cell.mark
                   for told, row in zip(rows, sheet.rows)
                   for (_, classes), cell in zip(told, row))
        head = page.tables[f"table-{sheet.name}"][: -len(sheet.rows)]
        names = [column.name for column in sheet.columns]
        assert [cell for cell, _ in head[0]] == names if head else not any(names)
        for note in sheet.notes:
            assert note in page.texts


def test_marks_are_of_the_lines_that_lead_significantly(text):
    rows = {row[0][0]: row for row in Page(text).tables["table-main"]}
    assert "best" in rows["SSR"][3][1] and "second" in rows["FREEDOM"][3][1]
    assert not {"best", "second"} & {c for _, classes in rows["SMORE"] for c in classes}
    unmarked = Page(rendered(made_comparison(3, 1, significant=False, curves=False,
                                                groups=False)))
    assert not {"best", "second"} & {c for row in unmarked.tables["table-main"]
                                     for _, classes in row for c in classes}


def test_every_picture_is_inline_and_well_formed(comparison, text):
    drawn = re.findall(r"<svg.*?</svg>", text, flags=re.S)
    assert len(drawn) == len(pictures(comparison))
    for picture in drawn:
        root = ElementTree.fromstring(
            picture.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))
        said = " ".join("".join(t.itertext()) for t in root.iter("text"))
        assert "tiktok" in said  # text stays text
    used = set(re.findall(r"[\"(]#([\w-]+)", text))
    ids = Page(text).values("id")
    assert used <= set(ids) and len(ids) == len(set(ids))


def test_nothing_is_asked_of_any_server(text):
    page = Page(text)
    asked = [value for name in ("src", "href", "xlink:href", "data", "srcset", "action", "poster")
             for value in page.values(name)]
    assert all(value.startswith("#") or value == "data:," for value in asked)
    assert "http:" not in text and "https:" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    policy = next(a["content"] for _, a in page.tags
                  if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_two_writings_are_equal_byte_for_byte(comparison, text, tmp_path):
    path = html.write_html(comparison, pictures(comparison), tmp_path / "new" / "comparison.html")
    assert path.read_bytes() == text.encode()
    assert [p.name for p in path.parent.iterdir()] == ["comparison.html"]


def hostile_comparison():
    spread = Spread(0.1, float("nan"), 1)
    line = Line(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, (made_result("SSR", device=HOSTILE),),
                (Failure(1, HOSTILE, HOSTILE),))
    other = Line(f"{HOSTILE} 2", "SSR", {}, (made_result("SSR"),))
    return Comparison(
        HOSTILE, {"valid_metric": "Recall@20", HOSTILE: HOSTILE}, (line, other),
        groups=(Group(HOSTILE, "users", 3, {"recall@20": {HOSTILE: spread}}),
                Group(HOSTILE, "beyond", 3, {HOSTILE: {HOSTILE: spread}})),
        curves=(Curve(HOSTILE, HOSTILE, (0.0, 1.0), "recall@20", {HOSTILE: (spread, spread)}),),
        published=(Published(HOSTILE, {"recall@20": 0.1}, HOSTILE, HOSTILE),), notes=(HOSTILE,))


def test_what_a_label_says_never_becomes_markup():
    text = rendered(hostile_comparison())
    page = Page(text)  # fails where a tag closes what it did not open
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"b", "img"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.tables["table-main"][1][0][0] == HOSTILE
    assert HOSTILE in page.texts  # the note
    for picture in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ElementTree.fromstring(
            picture.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))


def test_a_comparison_without_any_result_still_tells_why(comparison):
    page = Page(rendered(replace(comparison, lines=comparison.lines[-1:], differences=(),
                                    groups=(), curves=(), published=())))
    assert "svg" not in [tag for tag, _ in page.tags]
    assert [a["id"] for tag, a in page.tags if tag == "section"] == [
        "results", "failures", "protocol"]


def test_without_jinja2_the_error_says_what_to_install(comparison, monkeypatch, tmp_path):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("jinja2"):
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install .*recbole_ssr\[compare\]"):
        html.write_html(comparison, pictures(comparison), tmp_path / "x.html")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_an_error_of_the_user(comparison, tmp_path, monkeypatch):
    monkeypatch.setattr(html, "render", lambda *_: "")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        html.write_html(comparison, pictures(comparison), tmp_path / "file" / "x.html")


def in_chromium(path: Path, profile: Path) -> tuple[str, str]:
    """Return the page as the browser has it after its scripts ran, and what it logged."""
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--dump-dom",
         path.as_uri()], capture_output=True, text=True, timeout=120,
        env=os.environ | {"HOME": str(profile)})
    return done.stdout, done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_shows_and_sorts_it_without_an_error(text, tmp_path):
    click = "<script>document.querySelectorAll('#table-main th button')[%s].click()</script>"
    path = tmp_path / "page.html"
    path.write_text(text + click % 9 + click % 9)  # parameters, then the other way round
    dom, log = in_chromium(path, tmp_path / "profile")
    assert "CONSOLE" not in log, log
    for anchor in ANCHORS:
        assert f'<section id="{anchor}">' in dom
    table = re.search(r'<table id="table-main">.*?</table>', dom, flags=re.S).group()
    labels = re.findall(r'<th scope="row"[^>]*>(.*?)</th>', table)
    assert labels == ["SMORE", "FREEDOM", "SSR", "Broken_1"]  # fewest first, no value last
    assert table.count("aria-sort") == 1 and 'aria-sort="ascending"' in table
