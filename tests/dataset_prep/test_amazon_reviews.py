import gzip
import json
import logging

import made_amazon
import numpy as np
import pytest

from recbole_ssr.dataset_prep import amazon_reviews
from recbole_ssr.dataset_prep.amazon_reviews import read_interactions, read_ratings, read_reviews
from recbole_ssr.dataset_prep.kcore import k_core
from recbole_ssr.errors import UserError

SHOP = made_amazon.small_shop(dim=4)
ROWS = [("u2", "b", 5, 1_388_534_400), ("u1", "a", 1.5, 1_325_376_000),
        ("u2", "a", 4, 1_356_998_400)]
REVIEW = {"reviewerID": "u", "asin": "a", "overall": 5.0, "unixReviewTime": 1_388_534_400}
REVIEW_2023 = {"user_id": "u", "parent_asin": "a", "rating": 5.0, "timestamp": 1_388_534_400_123}
WRITERS = {
    "reviews of 2014": made_amazon.write_reviews_2014,
    "reviews of 2023": made_amazon.write_reviews_2023,
    "ratings of 2014": made_amazon.write_ratings_csv,
    "ratings of 2023": lambda path, rows: made_amazon.write_ratings_csv(path, rows, 2023),
}


def triples(interactions):
    """The rows as (user, item, rating, seconds)."""
    return list(zip(interactions.user_tokens[interactions.users],
                    interactions.item_tokens[interactions.items],
                    interactions.ratings.tolist(), interactions.timestamps.tolist()))


def error_of(path, content, read=read_interactions):
    """The message for a file of lines (dicts as JSON), checked to name the file and leave it."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in content]
    made_amazon.write_lines(path, lines)
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value) and path.read_bytes() == before
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "raw"


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_format_gives_the_same_rows_in_order(tmp_path, kind, suffix, monkeypatch):
    monkeypatch.setattr(amazon_reviews, "_CHUNK", 7)  # so that codes carry over between chunks
    result = read_interactions(WRITERS[kind](tmp_path / f"raw{suffix}", SHOP.rows))
    # The files of 2023 count milliseconds, of which the shop has seven.
    is_fine = "2023" in kind
    assert triples(result) == [(*row[:3], (row[3] * 1000 + 7) / 1000 if is_fine else row[3])
                              for row in SHOP.rows]
    assert result.users.dtype == result.items.dtype == np.int32
    assert result.ratings.dtype == np.float32
    assert result.timestamps.dtype == (np.float64 if is_fine else np.int64)
    assert list(result.user_tokens) == list(dict.fromkeys(row[0] for row in SHOP.rows))


def test_by_hand(path):
    result = read_reviews(made_amazon.write_reviews_2014(path, ROWS))
    assert result.users.tolist() == [0, 1, 0] and result.items.tolist() == [0, 1, 1]
    assert result.user_tokens.tolist() == ["u2", "u1"] and result.item_tokens.tolist() == ["b", "a"]
    assert result.ratings.tolist() == [5, 1.5, 4]
    assert result.timestamps.tolist() == [1_388_534_400, 1_325_376_000, 1_356_998_400]


def test_words_that_read_as_missing_are_ids(path):
    rows = [f"NA,null,5,{10**9}", f"nan,None,4,{10**9}"]
    result = read_ratings(made_amazon.write_lines(path, rows))
    assert result.user_tokens.tolist() == ["NA", "nan"]
    assert result.item_tokens.tolist() == ["null", "None"]
    review = {"reviewerID": "nan", "asin": "NA", "overall": 5, "unixReviewTime": 10**9}
    assert read_reviews(made_amazon.write_lines(path, [json.dumps(review)])).user_tokens == ["nan"]
    for key in ("reviewerID", "asin"):
        assert "line 1" in error_of(path, [{**review, key: "[PAD]"}])
    assert "line 2" in error_of(path, [rows[0], f"u,[PAD],4,{10**9}"])


def test_a_cell_of_ratings_may_be_long(path):
    lines = ["user_id,parent_asin,rating,timestamp,history",
             f'u,a,5,1388534400000,"{"b " * 200_000}"']
    assert len(read_ratings(made_amazon.write_lines(path, lines))) == 1


def test_milliseconds_are_kept(path):
    result = read_reviews(made_amazon.write_lines(path, [json.dumps(REVIEW_2023)]))
    assert result.timestamps.tolist() == [1_388_534_400.123]
    made_amazon.write_lines(path, ["user_id,parent_asin,rating,timestamp", "u,a,5,1388534400999"])
    assert read_ratings(path).timestamps.tolist() == [1_388_534_400.999]


def test_the_made_shop_has_the_five_core_that_it_says(path):
    core = k_core(read_ratings(made_amazon.write_ratings_csv(path, SHOP.rows)), 5)
    assert set(core.item_tokens) == set(SHOP.core_items) and len(SHOP.core_items) == 35
    assert set(core.user_tokens) == set(SHOP.users) and len(SHOP.users) == 60
    assert made_amazon.small_shop(dim=4).rows == SHOP.rows != made_amazon.small_shop(1, dim=4).rows


def test_blank_lines_and_other_keys_and_columns_are_passed_over(path):
    made_amazon.write_lines(path, ["", json.dumps({"x": [1], **REVIEW}), "  ", json.dumps(REVIEW)])
    assert len(read_interactions(path)) == 2
    made_amazon.write_lines(path, ["timestamp, rating,x,parent_asin,user_id", "",
                                   f"{10**12},2,y,a,u", " "])
    assert triples(read_interactions(path)) == [("u", "a", 2.0, 10**9)]


def test_2018_has_items_before_users(path, caplog):
    rows = SHOP.rows[:9]
    made_amazon.write_ratings_csv(path, rows, release=2018)
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        assert triples(read_ratings(path)) == rows
    assert "2018" in caplog.text


def test_header_with_the_names_of_2014_is_in_seconds(path):
    made_amazon.write_lines(path, ["asin,reviewerID,overall,unixReviewTime", f"a,u,3,{10**9}"])
    assert triples(read_ratings(path)) == [("u", "a", 3.0, 10**9)]


def test_rows_without_a_value_are_dropped_and_counted(path, caplog):
    good = f"NA,nan,5,{10**9}"  # ids may read like a missing number
    bad = [f",a,5,{10**9}", f"u, ,5,{10**9}", f"u,a,,{10**9}", "u,a,5,", f"u,a,NaN,{10**9}",
           "u,a,5,NA"]
    made_amazon.write_lines(path, [good, *bad, good])
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        result = read_ratings(path)
    assert triples(result) == [("NA", "nan", 5.0, 10**9)] * 2
    assert f"{path}: 6 of 8 rows dropped" in caplog.text and "line 2" in caplog.text
    caplog.clear()
    made_amazon.write_lines(path, [good])
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        read_ratings(path)
    assert not caplog.text


def test_quoted_fields_are_read(path):
    made_amazon.write_lines(path, [f'"u,1","a ""x""",5,{10**9}'])
    assert triples(read_ratings(path)) == [("u,1", 'a "x"', 5.0, 10**9)]


@pytest.mark.parametrize(("line", "parts"), [
    ("{'reviewerID': 'u'}", ["line 2", "no JSON", "{'reviewerID'", "ownload"]),
    (json.dumps(REVIEW)[:30], ["line 2", "no JSON", "cut off"]),
    ("[1, 2]", ["line 2", "no JSON object", "[1, 2]"]),
    ("[" * 100_000, ["line 2", "no JSON"]),
    ({k: v for k, v in REVIEW.items() if k != "overall"},
     ["line 2", "no key 'overall'", "reviewerID, asin, unixReviewTime"]),
    (REVIEW_2023, ["line 2", "no key 'reviewerID'", "user_id, parent_asin"]),
    ({**REVIEW, "asin": 7}, ["line 2: asin is 7, which is no id"]),
    ({**REVIEW, "reviewerID": None}, ["reviewerID is None, which is no id"]),
    ({**REVIEW, "reviewerID": " "}, ["reviewerID is ' '"]),
    ({**REVIEW, "reviewerID": "\ud83d"}, ["reviewerID is '\\ud83d'"]),
    ({**REVIEW, "overall": "5.0"}, ["line 2: overall is '5.0', which is no number"]),
    ({**REVIEW, "overall": True}, ["overall is True"]),
    ({**REVIEW, "overall": float("nan")}, ["overall is nan", "finite"]),
    ({**REVIEW, "overall": 10**400}, ["overall is 1", "finite"]),
    ({**REVIEW, "unixReviewTime": [1]}, ["unixReviewTime is [1]"]),
    ({**REVIEW, "unixReviewTime": float("inf")}, ["unixReviewTime is inf", "1990 to 2100"]),
    ({**REVIEW, "unixReviewTime": float("nan")}, ["unixReviewTime is nan", "1990 to 2100"]),
    ({**REVIEW, "unixReviewTime": -1}, ["unixReviewTime is -1", "seconds"]),
    ({**REVIEW, "unixReviewTime": 1_388_534_400_000}, ["1388534400000", "seconds", "unit"]),
])
def test_wrong_reviews_name_line_value_and_remedy(path, line, parts):
    message = error_of(path, [REVIEW, line])
    assert all(part in message for part in parts), message


def test_seconds_where_milliseconds_belong(path):
    message = error_of(path, [{**REVIEW_2023, "timestamp": 1_388_534_400}])
    assert "line 1: timestamp is 1388534400" in message and "milliseconds" in message
    message = error_of(path, ["user_id,parent_asin,rating,timestamp", "u,a,5,1388534400"])
    assert "line 2: timestamp is 1388534400.0" in message and "milliseconds" in message


def test_first_record_without_any_known_key(path):
    message = error_of(path, [{"who": 1, "what": 2}])
    assert "no key 'reviewerID'" in message and "it has who, what" in message
    assert "user_id, parent_asin, rating, timestamp" in message


@pytest.mark.parametrize(("lines", "parts"), [
    (["user_id,parent_asin,rating", "u,a,5"], ["line 1", "timestamp are missing"]),
    (["who,what,when,how", "u,a,5,1"], ["user_id, parent_asin, rating, timestamp are missing",
                                        "who, what, when, how"]),
    (["some words"], ["are missing", "some words"]),
    ([f"u,a,5,{10**9},x"], ["line 1: 5 columns without a header"]),
    ([f"u,a,5,{10**9}", "u,a,5"], ["line 2: 3 columns, but the first line has 4", "cut off"]),
    ([f"u,a,5,{10**9}", f"u,a,5,{10**9},x"], ["line 2: 5 columns"]),
    ([f"u,a,5,{10**9}", f"u,a,good,{10**9}"], ["line 2", "'good'", "numbers"]),
    ([f"u,a,5,{10**9}", "u,a,5,inf"], ["line 2: time is inf", "1990 to 2100"]),
    ([f"u,a,5,{10**9}", f"u,a,inf,{10**9}"], ["line 2: rating is inf", "finite"]),
    (["u,a,5,1388534400123"], ["line 1: time is 1388534400123.0", "in seconds"]),
    ([f"u,a,5,{10**9}", f'u,"a,5,{10**9}', f"u,a,5,{10**9}"], ["no CSV", "quote"]),
    (["user_id,parent_asin,rating,timestamp"], ["no row"]),
    (["u,a,,1"], ["no row"]),
    ([], ["is empty"]),
    (["", " "], ["is empty"]),
    (["<!DOCTYPE html>", "<p>403 Forbidden"], ["web page", "download it again"]),
])
def test_wrong_ratings_name_line_value_and_remedy(path, lines, parts):
    message = error_of(path, lines)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("read", [read_reviews, read_ratings])
def test_readers_by_name_check_the_same(path, read):
    assert "is empty" in error_of(path, [], read)
    assert "web page" in error_of(path, ["<html>"], read)


@pytest.mark.parametrize("kind", WRITERS)
def test_cut_off_downloads_never_pass_for_fewer_rows(tmp_path, kind):
    packed = WRITERS[kind](tmp_path / "whole.gz", SHOP.rows[:50]).read_bytes()
    path = tmp_path / "cut.gz"
    for cut in [*range(0, len(packed), 97), len(packed) - 8, len(packed) - 1]:
        path.write_bytes(packed[:cut])
        with pytest.raises(UserError, match=r"(cut off|damaged|empty).*ownload it again"):
            read_interactions(path)
        assert path.read_bytes() == packed[:cut]


def test_utf8_is_strict(path):
    path.write_bytes(gzip.compress(json.dumps(REVIEW).encode() + b"\n\xff"))
    with pytest.raises(UserError, match="line 2: byte 1 of the line is 0xff"):
        read_interactions(path)
