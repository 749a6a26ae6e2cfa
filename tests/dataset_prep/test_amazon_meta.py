import ast
import json
import logging
import warnings

import made_amazon
import pytest

from recbole_ssr.dataset_prep.amazon_meta import FIELDS, read_texts
from recbole_ssr.errors import UserError

SHOP = made_amazon.small_shop(dim=4)
FULL = {"title": "A &amp; B\nlong", "brand": "Acme", "categories": [["Toys", "Small toys"], ["X"]],
        "description": "It's\r\nfine."}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "meta"


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "recbole_ssr")
    return caplog


def error_of(path, lines, items=("a",)):
    made_amazon.write_lines(path, lines)
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        read_texts(path, list(items))
    assert str(path) in str(caught.value) and path.read_bytes() == before
    return str(caught.value)


def test_the_recipe_by_hand(path):
    made_amazon.write_meta_2014(path, {"a": FULL})
    assert read_texts(path, ["a"]) == [
        "A &amp; B long Acme Toys Small toys It's  fine."]


@pytest.mark.parametrize(("lacking", "expected"), [
    ("title", "  Acme Toys Small toys It's  fine."),
    ("brand", "A &amp; B long   Toys Small toys It's  fine."),
    ("categories", "A &amp; B long Acme It's  fine."),
    ("description", "A &amp; B long Acme Toys Small toys  "),
])
def test_what_is_missing_is_a_blank(path, lacking, expected):
    record = {key: value for key, value in FULL.items() if key != lacking}
    for content in record, {**record, lacking: None}:
        assert read_texts(made_amazon.write_meta_2014(path, {"a": content}), ["a"]) == [expected]


def test_nan_of_json_is_no_word(path):
    lines = ['{"parent_asin": "a", "title": "T", "store": NaN, "features": ["F", NaN],'
             ' "description": [NaN]}']
    made_amazon.write_lines(path, lines)
    assert read_texts(path, ["a"]) == ["T   F  "]


def test_2023_adds_features_and_lists(path):
    record = {"parent_asin": "a", "title": "T", "store": "S", "categories": ["C1", "C2"],
              "features": ["F1", "F2"], "description": ["D1\n", "D2"], "price": float("nan")}
    made_amazon.write_lines(path, [json.dumps(record)])
    assert read_texts(path, ["a"]) == ["T S C1 C2 F1 F2 D1  D2"]


def test_2018_is_read_as_json(path):
    record = {"asin": "a", "title": "T", "brand": "S", "category": ["C1", "C2"],
              "feature": ["F1"], "description": ["D1"]}
    made_amazon.write_lines(path, [json.dumps(record)])
    assert read_texts(path, ["a"]) == ["T S C1 C2 F1 D1"]


@pytest.mark.parametrize("write", [made_amazon.write_meta_2014, made_amazon.write_meta_2018,
                                   made_amazon.write_meta_2023])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_releases_agree_on_the_made_shop(tmp_path, write, suffix, log):
    texts = dict(zip(SHOP.core_items, read_texts(write(tmp_path / f"m{suffix}", SHOP.meta),
                                                 SHOP.core_items)))
    assert [item for item in texts if not texts[item]] == SHOP.without_meta
    for item, text in texts.items():
        record = SHOP.meta.get(item)
        if record:
            assert text == " ".join([record.get("title", " "), record["brand"],
                                     *record["categories"][0], record.get("description", " ")
                                     ]).replace("\n", " ")
    assert "found 34 of 35 items, 1 titles and 2 descriptions missing" in log.text
    assert len(log.records) == 1


def test_order_is_that_of_the_items_and_the_first_record_wins(path):
    made_amazon.write_lines(path, [repr({"asin": item, "title": title}) for item, title in
                                   [("b", "1"), ("x", "2"), ("a", "3"), ("b", "4")]])
    assert [text.strip() for text in read_texts(path, ["a", "none", "b"])] == ["3", "", "1"]


def test_blank_texts_are_no_texts(path, log):
    made_amazon.write_lines(path, [repr({"asin": "a", "title": " ", "categories": [[]]}),
                                   repr({"asin": "b"}), repr({"asin": "c", "description": "\n"})])
    assert read_texts(path, list("abc")) == ["", "", ""]
    assert "found 3 of 3 items, 3 titles and 3 descriptions missing" in log.text


def test_fields_can_be_chosen_and_ordered(path):
    made_amazon.write_meta_2014(path, {"a": FULL})
    assert FIELDS == ("title", "brand", "categories", "features", "description")
    assert read_texts(path, ["a"], ["brand", "title"]) == ["Acme A &amp; B long"]
    with pytest.raises(UserError, match="'titel'.*title, brand.*Did you mean 'title'"):
        read_texts(path, ["a"], ["titel"])


def test_only_lines_of_the_items_are_parsed(path, monkeypatch):
    made_amazon.write_meta_2014(path, {f"i{number}": FULL for number in range(50)})
    parsed = []
    literal_eval = ast.literal_eval
    monkeypatch.setattr(ast, "literal_eval",
                        lambda line: parsed.append(line) or literal_eval(line))
    assert all(read_texts(path, ["i7", "i31"])) and len(parsed) == 2


@pytest.mark.parametrize("line", [
    repr({"description": "so \"asin\": \"x\" it", "asin": "a", "title": "T"}),
    repr({"description": "so 'asin': 'x' it", "title": "T", "asin": "a"}),
    """{'title': 'T', "asin" : "a"}""",
    r"""{'title': 'T', 'asin': '\x61'}""",
    r"""{'title': 'T', '\x61sin': 'a'}""",
    r"""{"title": "T", "\u0061sin": "\u0061"}""",
    """{'title': 'T', 'asin': u'a', 'related': {'asin': 'b'}}""",
    json.dumps({"asin": "variant", "parent_asin": "a", "title": "T"}),
    json.dumps({"description": ["\"asin\": \"x\" 'asin': 'y'"], "asin": "a", "title": "T"}),
])
def test_a_glance_never_misses_an_item(path, line):
    made_amazon.write_lines(path, [line])
    assert read_texts(path, ["a"], ["title"]) == ["T"]


@pytest.mark.parametrize("code", [
    "__import__('os').system('touch {mark}')",
    "{{'asin': 'a', 'title': __import__('os').system('touch {mark}')}}",
    "{{'asin': 'a', 'title': open('{mark}', 'w')}}",
    "{{'asin': 'a', 'title': [c for c in 'x']}}",
    "{{'asin': 'a', 'title': 'x'.upper()}}",
])
def test_code_is_refused_and_never_run(tmp_path, path, code):
    mark = tmp_path / "mark"
    message = error_of(path, [repr({"asin": "b"}), code.format(mark=mark)])
    assert "line 2" in message and "Code is never run" in message and not mark.exists()


@pytest.mark.parametrize(("line", "parts"), [
    ("{'asin': 'a', 'title': ", ["neither a Python literal nor JSON", "cut off", "ownload"]),
    ('{"asin": "a", "title": ', ["neither", "Expecting value"]),
    ("{'asin': 'a', [1]: 2}", ["neither"]),
    ("{'asin': 'a', 'title': " + "(" * 10_000, ["neither", "{'asin': 'a'"]),
    ("{'asin': 'a', 'title': '\0'}", ["neither"]),
    ("['asin', 'a']", ["no record of an item", "['asin', 'a']"]),
    ("{'title': 'T', 'price': 3}", ["no parent_asin or asin", "it has title, price"]),
    ("{'asin': 7}", ["no parent_asin or asin"]),
    ("{'asin': 'a', 'title': {'x': 1}}", ["title has \"{'x': 1}\"", "Correct"]),
    ("{'asin': 'a', 'categories': [[['x']]]}", ["categories has \"['x']\""]),
])
def test_bad_lines_are_named(path, line, parts):
    message = error_of(path, [repr({"asin": "b"}), "", line])
    assert "line 3" in message and all(part in message for part in parts), message


def test_files_that_are_no_metadata(path):
    assert "is empty" in error_of(path, [])
    assert "web page" in error_of(path, ["<!DOCTYPE html><p>503</p>"])
    others = [repr({"asin": f"x{number}"}) for number in range(9)]
    message = error_of(path, others, ["a", "b", "c", "d"])
    assert "none of the 4 items" in message and "another category" in message
    assert "['x0', 'x1', 'x2']" in message and "['a', 'b', 'c']" in message
    made_amazon.write_lines(path, others)
    assert read_texts(path, []) == []


def test_a_bad_line_of_another_item_is_no_concern(path):
    made_amazon.write_lines(path, ["{'asin': 'b', 'title': open('x')}",
                                   repr({"asin": "a", **FULL})])
    assert read_texts(path, ["a"], ["brand"]) == ["Acme"]


def test_odd_backslashes_and_half_surrogates(path):
    made_amazon.write_lines(path, [r"{'asin': 'a', 'title': 'a\d'}",
                                   r"""{"asin": "b", "title": "x\ud83d"}""",
                                   r"""{'asin': 'c', 'title': '\ud83d\ude00'}"""])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        texts = read_texts(path, list("abc"), ["title"])
    assert texts == ["a\\d", "x\ufffd", "\U0001f600"]
    assert all(text.encode("utf-8") for text in texts)


def test_cut_off_downloads(tmp_path):
    packed = made_amazon.write_meta_2014(tmp_path / "m.gz", SHOP.meta).read_bytes()
    path = tmp_path / "cut.gz"
    for cut in range(1, len(packed), 41):
        path.write_bytes(packed[:cut])
        with pytest.raises(UserError, match="ownload it again"):
            read_texts(path, SHOP.core_items)
        assert path.read_bytes() == packed[:cut]
