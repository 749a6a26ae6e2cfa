"""Tables of a user: what is read, what is recognised, and what each mistake is told."""

import gzip
import json
import logging

import numpy as np
import pandas as pd
import pytest

from recbole_ssr.dataset_prep import table_rows
from recbole_ssr.dataset_prep.own_tables import (
    read_interaction_table,
    read_item_table,
)
from recbole_ssr.dataset_prep.own_vectors import read_vectors
from recbole_ssr.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(name, text, encoding="utf-8"):
        path = tmp_path / name
        data = text.encode(encoding) if isinstance(text, str) else text
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path
    return write


def rows_of(interactions):
    """The rows as tuples of tokens and whatever columns there are."""
    columns = [interactions.user_tokens[interactions.users],
               interactions.item_tokens[interactions.items]]
    columns += [values for values in (interactions.ratings, interactions.timestamps,
                                      interactions.labels) if values is not None]
    return [tuple(row) for row in zip(*(column.tolist() for column in columns))]


CSV = "user_id,item_id,rating,timestamp\n007,a,5,100\n7,b,3.5,200\n007,b,1,300\n"
ROWS = [("007", "a", 5.0, 100), ("7", "b", 3.5, 200), ("007", "b", 1.0, 300)]


@pytest.mark.parametrize("name, text", [
    ("t.csv", CSV), ("t.csv.gz", CSV), ("t.csv", "\ufeff" + CSV), ("t.csv", CSV.replace(",", ";")),
    ("t.csv", CSV.replace("\n", "\r\n")), ("t.tsv", CSV.replace(",", "\t")),
    ("t.tsv.gz", CSV.replace(",", "\t")), ("t.csv", CSV.replace("a,5", '"a", 5')[:-1]),
    ("t.csv", CSV.replace("\n7", "\n\n,,,\n7")),
], ids=["csv", "gz", "bom", "semicolon", "crlf", "tsv", "tsv.gz", "quoted", "blank lines"])
def test_delimited_tables(write, name, text):
    text = text.replace('"a", 5', '"a",5')
    assert rows_of(read_interaction_table(write(name, text))) == ROWS


@pytest.mark.parametrize("name", ["t.jsonl", "t.json.gz"])
def test_json_lines(write, name):
    text = ('{"user_id": "007", "item_id": "a", "rating": 5, "timestamp": 100}\n\n'
            '{"user_id": 7, "item_id": "b", "rating": 3.5, "timestamp": 200}\n'
            '{"timestamp": 300, "item_id": "b", "rating": 1.0, "user_id": "007"}\n')
    assert rows_of(read_interaction_table(write(name, text))) == ROWS


def test_atomic_files_of_recbole(write):
    text = 'user_id:token\titem_id:token\tx_label:float\n1\t"a\t0\n2\tb\t2\n'
    rows = rows_of(read_interaction_table(write("t.inter", text)))
    assert rows == [("1", '"a', 0), ("2", "b", 2)]


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    frame = pd.DataFrame({
        "uid": [7, 8, 9], "asin": pd.Categorical(["007", "b", "b"]), "stars": [1, 2.5, 3],
        "time": pd.to_datetime(["1970-01-01 00:01", "1970-01-02 00:00", "2014-09-13 01:02"])})
    frame.to_parquet(tmp_path / "t.parquet")
    assert rows_of(read_interaction_table(tmp_path / "t.parquet")) == [
        ("7", "007", 1.0, 60), ("8", "b", 2.5, 86400), ("9", "b", 3.0, 1410570120)]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet_times_keep_their_fractions(tmp_path, unit):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    times = pd.to_datetime(["1969-12-31 23:59:59.5", "2014-09-13 01:02:03.250"]).astype(
        f"datetime64[{unit}]")
    pd.DataFrame({"user": [1, 2], "item": [1, 2], "time": times}).to_parquet(tmp_path / "t.parquet")
    result = read_interaction_table(tmp_path / "t.parquet")
    assert result.timestamps.tolist() == [-0.5, 1410570123.25]


def test_integers_with_gaps_stay_integers_in_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    path = tmp_path / "t.parquet"
    pd.DataFrame({"user_id": [12.0, 3.0], "item_id": [10**15 + 1, 2]}).to_parquet(path)
    assert rows_of(read_interaction_table(path)) == [("12", "1000000000000001"), ("3", "2")]
    pd.DataFrame({"user_id": [12.0, None], "item_id": [1, 2]}).to_parquet(path)
    with pytest.raises(UserError, match=r"t.parquet, row 2: the user '' .*is blank"):
        read_interaction_table(path)


def test_parquet_errors(tmp_path, write, monkeypatch):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    with pytest.raises(UserError, match="t.parquet is no readable Parquet file"):
        read_interaction_table(write("t.parquet", "user_id,item_id\n"))
    with pytest.raises(UserError, match="no.parquet does not exist"):
        read_interaction_table(tmp_path / "no.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pyarrow.*pip install recbole_ssr\[report\].*CSV"):
        read_interaction_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("header", [
    "userID,itemID", "user,item", "uid,iid", "customer_id,product_id", "reviewerID,asin",
    "User Id,Item Id",
])
def test_usual_names(write, header):
    assert rows_of(read_interaction_table(write("t.csv", f"{header}\n1,2\n"))) == [("1", "2")]


def test_one_number_of_json_is_one_id(write):
    lines = [f'{{"user": {user}, "item": "{item}"}}' for user, item in
             (("3", "3"), ("3.0", "3.0"), ('"3.0"', "a"), ("3e0", "b"), ("3.5", "c"))]
    result = rows_of(read_interaction_table(write("t.jsonl", "\n".join(lines))))
    assert result == [("3", "3"), ("3", "3.0"), ("3.0", "a"), ("3", "b"), ("3.5", "c")]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_a_cell_may_be_long(write, name):
    long, divider = "word " * 100_000 + "end", "\t" if "tsv" in name else ","
    text = f'item_id{divider}title\na{divider}"{long}, and more"\n'
    assert read_item_table(write(name, text)).texts == [f"{long}, and more"]


def test_named_columns_win_and_optional_ones_can_be_left_out(write):
    path = write("t.csv", "user_id,buyer,item_id,rating,when\n1,u,i,bad,9\n")
    result = read_interaction_table(path, user="buyer", time="when", rating="")
    assert rows_of(result) == [("u", "i", 9)]


@pytest.mark.parametrize("written, seconds", [
    ("1410570123", 1410570123), ("1410570123456", 1410570123.456), ("1410570123.25", 1410570123.25),
    ("1410570123456789", 1410570123.456789), ("1410570123456789123", 1410570123.4567893),
    ("1410570123000", 1410570123), ("1.410570123e9", 1410570123), ("17", 17),
    ("2014-09-13", 1410566400), ("2014-09-13 01:02:03", 1410570123),
    ("2014-09-13 01:02:03.5", 1410570123.5),
    ("2014-09-13T01:02:03Z", 1410570123), ("2014-09-13T03:02:03+02:00", 1410570123),
])
def test_times(write, written, seconds):
    path = write("t.csv", f"user,item,date\n1,2,{written}\n")
    times = read_interaction_table(path).timestamps
    assert times.tolist() == [seconds] and times.dtype == (
        np.int64 if seconds == int(seconds) else np.float64)


@pytest.mark.parametrize("written, label", [("train", 0), ("Valid", 1), ("validation", 1),
                                            ("TEST", 2), ("0", 0), ("2.0", 2)])
def test_labels(write, written, label):
    path = write("t.csv", f"user,item,split\n1,2,{written}\n")
    assert read_interaction_table(path).labels.tolist() == [label]


def test_rows_beyond_one_block(write, monkeypatch):
    from recbole_ssr.dataset_prep import own_tables

    monkeypatch.setattr(own_tables, "_BLOCK", 2)
    assert rows_of(read_interaction_table(write("t.csv", CSV))) == ROWS
    with pytest.raises(UserError, match="line 4: the time '2014-01-01'.*another kind"):
        read_interaction_table(write("u.csv", CSV.replace("300", "2014-01-01")))


@pytest.mark.parametrize("text, message", [
    ("", "is empty"),
    ("user_id,item_id\n", "has a header but no rows"),
    ("<!DOCTYPE html>\n", "web page"),
    ("usr,item_id\n1,2\n", "known as the user, such as user_id; it has 'usr', 'item_id'.*"
                           "--user_column=COLUMN"),
    ("user_id,itm\n1,2\n", "Did you mean 'itm'.*--item_column"),
    ("user_id,item_id\n1,2\n,3\n", "line 3: the user '' .*column user_id.* is blank"),
    ("user_id,item_id\n1,2\n1,  \n", "line 3: the item '' .*is blank"),
    ("user_id,item_id\n1,2\n[PAD],2\n", r"line 3: the user '\[PAD\]' .*RecBole keeps"),
    ('user_id,item_id\n1,"a\tb"\n', r"line 2: the item 'a\\tb'.*tab or line break"),
    ("user_id,item_id\n1,2\n1,2,3\n", r"line 3: 3 fields, but the header has 2: \['1', '2', '3'\]"),
    ("user_id,item_id\n1,2\n1\n", "line 3: 1 fields"),
    ('user_id,item_id\n1,"2\n3,4\n', "row from line 2 on: unexpected end of data.*close every"),
    ('user_id,item_id\n1,"2"x\n3,4\n', "line 2 on: ',' expected after '\"'.*Double the quotes"),
    ("user_id,item_id,time\n1,2,9\n1,3,13.09.2014\n", "line 3: the time '13.09.2014'"),
    ("user_id,item_id,time\n1,2,13.09.2014\n", "neither a number nor an ISO date.*seconds since"),
    ("user_id,item_id,time\n1,2,inf\n", "line 2: the time 'inf'"),
    ("user_id,item_id,rating\n1,2,good\n", "the rating 'good'.*is no number.*--rating_column=''"),
    ("user_id,item_id,rating\n1,2,nan\n", "the rating 'nan'"),
    ("user_id,item_id,split\n1,2,train\n1,3,dev2\n",
     "the label 'dev2'.*train, valid, test, or 0, 1, 2"),
    ("user_id,item_id,user_id\n1,2,3\n", "several columns named 'user_id'"),
])
def test_mistakes_in_csv(write, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_interaction_table(write("t.csv", text))
    assert "t.csv" in str(error.value)


def test_other_mistakes(write, tmp_path):
    with pytest.raises(UserError, match="line 2: byte 1.*UTF-8"):
        read_interaction_table(write("t.csv", "user_id,item_id\né,1\n", "latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_interaction_table(write("t.csv", CSV, "utf-16"))
    with pytest.raises(UserError, match="none.csv does not exist"):
        read_interaction_table(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"suffix '.xlsx'.*\.csv, \.tsv"):
        read_interaction_table(write("t.xlsx", "x"))
    path = write("t.csv", CSV)
    with pytest.raises(UserError, match="no column 'userid'.*Did you mean 'user_id'.*--user_col"):
        read_interaction_table(path, user="userid")
    with pytest.raises(UserError, match="'user_id' is named for both user and item"):
        read_interaction_table(path, item="user_id")


@pytest.mark.parametrize("text, message", [
    ('[{"user_id": 1}]\n', "one JSON array. Write one object per line"),
    ('{"user_id": 1, "item_id": 2}\n{"user_id": \n', "line 2: no JSON"),
    ('{"user_id": 1, "item_id": 2}\n[1, 2]\n', r"line 2: '\[1, 2\]' is no JSON object"),
    ('{"user_id": 1, "item_id": 2}\n{"user_id": 3}\n', "line 2: the item '' .*blank"),
    ('{"user_id": 1, "item_id": NaN}\n', "line 1: the item '' .*blank"),
    ("[" * 100000 + "\n", "array"),
    ('{"a":' * 100000 + "\n", "line 1: no JSON"),
])
def test_mistakes_in_json_lines(write, text, message):
    with pytest.raises(UserError, match=message):
        read_interaction_table(write("t.jsonl", text))


ITEMS = ("item_id,title,description,price,imUrl,brand_id,added,code\n"
         '001,Red shirt,"soft,\nof cotton",9.99,http://x.org/1.jpg,A7X,2014-01-02,B00X4W\n'
         "1,NA,,5,http://x.org/2.jpg,B2,2014-01-03,B00X4V\n"
         "2,USB cable,black,,,,,\n")


def test_item_texts_come_from_the_columns_of_words(write, caplog):
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        table = read_item_table(write("t.csv", ITEMS))
    assert table.tokens == ["001", "1", "2"]
    assert table.texts == ["Red shirt soft, of cotton", "", "USB cable black"]
    assert "text from the columns title, description; not from price, imUrl" in caplog.text


def test_item_texts_of_given_columns(write):
    path = write("t.csv", ITEMS)
    assert read_item_table(path, text=["price", "title"]).texts == [
        "9.99 Red shirt", "5", "USB cable"]
    assert read_item_table(path, item="title", text=["code"]).tokens == [
        "Red shirt", "NA", "USB cable"]
    with pytest.raises(UserError, match="no column 'titel'.*Did you mean 'title'.*--text"):
        read_item_table(path, text=["titel"])


def test_item_texts_of_json_lists(write):
    lines = [{"asin": "a", "title": "Shirt", "categories": [["Clothing", "Men"]], "related":
              {"also": ["B001", "B002"]}, "urls": ["http://x.org"]}, {"asin": "b", "title": None}]
    table = read_item_table(write("t.jsonl", "\n".join(map(json.dumps, lines))))
    assert table == (["a", "b"], ["Shirt Clothing Men", ""], ["title", "categories"],
                     "asin")


@pytest.mark.parametrize("text, message", [
    ("item_id,title\na,x\nb,y\na,z\n", "item 'a' is in line 2 and again in line 4"),
    ("item_id,title\na,x\n,y\n", "line 3: the item ''"),
    ("item_id,price\na,1\n", "no column of words beside 'item_id'; it has.*'price'.*--text"),
    ("item_id,title\n", "a header but no rows"),
    ("title\nx\n", "known as the item"),
])
def test_mistakes_in_item_tables(write, text, message):
    with pytest.raises(UserError, match=message):
        read_item_table(write("t.csv", text))


def test_a_column_id_names_items_but_never_those_of_interactions(write):
    assert read_item_table(write("t.csv", "id,title\n1,Shirt\n")).tokens == ["1"]
    with pytest.raises(UserError, match="known as the item"):
        read_interaction_table(write("u.csv", "id,user_id,product_code\n1,2,3\n"))


MATRIX = np.arange(6, dtype=np.float64).reshape(3, 2)


def test_vectors_of_numpy(tmp_path):
    path = tmp_path / "v.npy"
    np.save(path, MATRIX)
    tokens, matrix = read_vectors(path, ["a", "b", "c"])
    assert tokens == ["a", "b", "c"] and (matrix == MATRIX).all()
    (tmp_path / "v.tokens").write_text("x\ny\nz\n")
    assert read_vectors(path, ["a"])[0] == ["x", "y", "z"]
    np.save(path, MATRIX.astype(np.int32))
    assert (read_vectors(path)[1] == MATRIX).all()


@pytest.mark.parametrize("name, text", [
    ("v.csv", "item_id,x,y\n001,0,1\nb,2,3e0\nc,4,5\n"),
    ("v.tsv", "item_id\tv\n001\t[0, 1]\nb\t2 3\nc\t4,5\n"),
    ("v.jsonl", '{"id": "001", "v": [0, 1]}\n{"id": "b", "v": [2.0, 3]}\n{"id": "c", "v": [4, 5]}'),
])
def test_vectors_of_tables(write, name, text):
    tokens, matrix = read_vectors(write(name, text))
    assert tokens == ["001", "b", "c"] and matrix.dtype == np.float32 and (matrix == MATRIX).all()


@pytest.mark.parametrize("lists", [False, True])
def test_vectors_of_parquet(tmp_path, lists):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    columns = {"v": MATRIX.tolist()} if lists else {"x": MATRIX[:, 0], "y": [1, 3, 5]}
    pd.DataFrame({"item_id": ["001", "b", "c"], **columns}).to_parquet(tmp_path / "v.parquet")
    tokens, matrix = read_vectors(tmp_path / "v.parquet")
    assert tokens == ["001", "b", "c"] and matrix.dtype == np.float32 and (matrix == MATRIX).all()


def test_the_index_of_a_data_frame_is_no_part_of_the_vectors(tmp_path, write, caplog):
    caplog.set_level(logging.INFO, "recbole_ssr")
    frame = pd.DataFrame({"item_id": ["c", "001", "b"], "x": [4, 0, 2], "y": [5, 1, 3]}, [2, 0, 1])
    for text in (frame.to_csv(), frame.reset_index(names="Unnamed: 0").to_csv(index=False)):
        tokens, matrix = read_vectors(write("v.csv", text))
        assert (matrix[np.argsort(tokens)] == MATRIX).all()
    assert caplog.text.count("is a data frame's index") == 2
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    frame.to_parquet(tmp_path / "v.parquet")
    tokens, matrix = read_vectors(tmp_path / "v.parquet")
    assert (matrix[np.argsort(tokens)] == MATRIX).all()


def test_the_item_column_of_vectors_may_be_named(write):
    path = write("v.csv", "sku,artikel,x\n1,2,5\n3,4,6\n")
    assert read_vectors(path, item=(None, "artikel"))[0] == ["2", "4"]
    assert read_vectors(path, item=("part", None))[0] == ["1", "3"]
    with pytest.raises(UserError, match="--items_key=COLUMN"):
        read_vectors(write("v.csv", "teil,x\na,1\n"))


@pytest.mark.parametrize("column, message", [
    ({"v": [[1.0], [1.0, 2.0]]}, "item 'b' has 2 numbers, that of 'a' 1"),
    ({"v": [[1.0], None]}, "item 'b' has 0 numbers"),
    ({"v": [["x"], ["y"]]}, "column 'v' holds list<.*string>, no numbers"),
    ({"title": ["x", "y"], "v": [1, 2]}, "column 'title' holds .*string, no numbers"),
    ({"v": [1.0, None]}, "row 1 .item 'b'. has nan in column 0"),
])
def test_mistakes_in_vectors_of_parquet(tmp_path, column, message):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    pd.DataFrame({"item_id": ["a", "b"], **column}).to_parquet(tmp_path / "v.parquet")
    with pytest.raises(UserError, match=message):
        read_vectors(tmp_path / "v.parquet")


@pytest.mark.parametrize("text, message", [
    ("item_id,v\na,1 2\nb,1\n", "vector of item 'b' has 1 numbers, that of 'a' 2"),
    ("item_id,x,y\na,1,2\nb,1,red\n", "line 3: the vector of item 'b'.*'red'"),
    ("item_id,x\na,1\na,2\n", "rows 0 and 1 both have the token 'a'"),
    ("item_id,x\na,1\n,2\n", "token '' of row 1 is blank"),
    ("item_id,x\na,1\nb,nan\n", "row 1 .item 'b'. has nan in column 0"),
    ("item_id,v\na,1 2\nb,\"1,,2\"\n", "line 3: the vector of item 'b' is no list of numbers"),
    ("item_id\na\n", "no columns beside 'item_id'"),
    ("item_id,x\n", "no rows"),
])
def test_mistakes_in_vectors_of_tables(write, text, message):
    with pytest.raises(UserError, match=message):
        read_vectors(write("v.csv", text))


@pytest.mark.parametrize("entry", ["null", "NaN", '""'])
def test_an_absent_number_of_a_json_list_is_none_to_leave_out(write, entry):
    path = write("v.jsonl", f'{{"id": "a", "v": [1, 2, 3]}}\n{{"id": "b", "v": [1, {entry}, 3]}}\n')
    with pytest.raises(UserError, match=r"\(item 'b'\) has nan in column 1"):
        read_vectors(path)


@pytest.mark.parametrize("name, words", [
    ("v.pt", r"has the suffix '.pt'.*numpy.save\('v.npy', torch.load\('v.pt'\).numpy\(\)\)"),
    ("v.npz", r"has the suffix '.npz'.*numpy.load\('v.npz'\)\[KEY\]"),
    ("v.h5", "has the suffix '.h5'.*Save it as one of these"),
    ("folder", "is a folder.*numpy.stack.*folder.tokens"),
    ("none", "none does not exist"),
])
def test_other_formats_of_vectors_are_told_what_is_taken(tmp_path, write, name, words):
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name != "none":
        write(name, "x")
    with pytest.raises(UserError, match=words) as error:
        read_vectors(path)
    assert name == "none" or "a matrix in a .npy" in str(error.value)


@pytest.mark.parametrize("name, text, asked", [
    ("t.csv", "u0,i 28,4,1606322707.0\n", True), ("t.csv", "u0,i1,1,1\n", True),
    ("t.csv", "u0,i1\n", True), ("t.csv", "who,what\nu0,i1\n", False),
    ("t.csv", "who,q1\nu0,i1\n", False), ("t.jsonl", '{"1": 2, "3": 4}\n', False)])
def test_a_first_line_of_data_is_asked_about(write, name, text, asked):
    with pytest.raises(UserError) as error:
        read_interaction_table(write(name, text))
    assert ("Does the first line lack names?" in str(error.value)) == asked


def test_mistakes_in_vectors_of_numpy(tmp_path, write):
    path = tmp_path / "v.npy"
    with pytest.raises(UserError, match="does not exist"):
        read_vectors(path)
    np.save(path, MATRIX)
    with pytest.raises(UserError, match=r"does not say which item.*v.tokens.*--items"):
        read_vectors(path)
    with pytest.raises(UserError, match="3 rows, but the item table 2 items.*v.tokens"):
        read_vectors(path, ["a", "b"])
    (tmp_path / "v.tokens").write_text("x\ny\n")
    with pytest.raises(UserError, match="2 tokens, but v.npy has 3 rows"):
        read_vectors(path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(UserError, match="no readable matrix"):
        read_vectors(path)
    np.save(path, np.arange(3.0))
    with pytest.raises(UserError, match=r"shape \(3,\) and the type float64"):
        read_vectors(path)
    np.savez(tmp_path / "z.npz", MATRIX)
    with pytest.raises(UserError, match="no readable matrix"):
        read_vectors((tmp_path / "z.npz").rename(path))
    with pytest.raises(UserError, match="no readable matrix"):
        read_vectors(write("e.npy", b""))


def test_raw_files_stay_as_they_are(write):
    path = write("t.csv", CSV)
    before = path.stat()
    read_interaction_table(path)
    assert path.read_text() == CSV and path.stat().st_mtime_ns == before.st_mtime_ns


def test_nested_json_is_flattened():
    assert table_rows.flat([["a", None], {"k": " b "}, 3]) == "a b 3"


@pytest.mark.parametrize("row, words", [
    ('{"user_id": "u", "item_id": ["a", "b"]}',
     ["line 1", "item_id is a list", "explode('item_id')"]),
    ('{"user_id": {"0": "u"}, "item_id": {"0": "a"}}', ["user_id is an object", "lines=True"]),
    ('{"user_id": "u\\ud83d", "item_id": "a"}', ["half a character"]),
])
def test_several_values_and_broken_texts_are_no_ids(write, row, words):
    with pytest.raises(UserError) as error:
        read_interaction_table(write("t.jsonl", row))
    assert all(word in str(error.value) for word in words)


def test_lists_and_bytes_in_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="needs recbole_ssr[report]")
    path = tmp_path / "t.parquet"
    pd.DataFrame({"user_id": [b"u", b"v"], "item_id": [b"a", b"b"]}).to_parquet(path)
    assert rows_of(read_interaction_table(path)) == [("u", "a"), ("v", "b")]
    pd.DataFrame({"user_id": ["u", "v"], "item_id": [["a"], ["b", "c"]]}).to_parquet(path)
    with pytest.raises(UserError, match="item_id is a list.*explode"):
        read_interaction_table(path)


@pytest.mark.parametrize("column, values, taken", [
    ("partition", "012", False), ("subset", ("train", "test", "valid"), True),
    ("split", "012", True), ("split", ("5-pack", "box", ""), False),
    ("x_label", "012", True),
])
def test_a_column_is_the_split_where_it_can_be_nothing_else(write, caplog, column, values, taken):
    text = "".join(f"u,{item},{value}\n" for item, value in zip("abc", values))
    path = write("t.csv", f"user_id,item_id,{column}\n{text}")
    assert (read_interaction_table(path).labels is not None) == taken
    assert ("is not taken for the split" in caplog.text) != taken
    if values == "012":
        assert read_interaction_table(path, label=column).labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("column, values, told", [
    ("label", "01", True), ("is_click", ["1.0", "0.0"], True), ("label", "ab", False),
    ("label", "12", False), ("weight", "01", False)])
def test_a_column_of_clicks_that_is_not_read_is_told(write, caplog, column, values, told):
    path = write("t.csv", f"user,item,{column}\nu,a,{values[0]}\nu,b,{values[1]}\n")
    assert len(read_interaction_table(path)) == 2
    flags = f"--rating_column={column} --min_rating=1"
    assert (flags in caplog.text) == told
    caplog.clear()
    if told:
        assert read_interaction_table(path, rating=column).ratings.tolist() == list(
            map(float, values))
        assert flags not in caplog.text


def test_times_of_two_units_are_refused(write):
    rows = "user_id,item_id,timestamp\nu,a,{}\nu,b,1690000000000\nu,c,0\n"
    with pytest.raises(UserError, match="1690000000000 is one of milliseconds, 1700000000 is none"):
        read_interaction_table(write("t.csv", rows.format(1700000000)))
    times = read_interaction_table(write("t.csv", rows.format(1500000000000))).timestamps
    assert times.tolist() == [1500000000, 1690000000, 0]


def test_a_quote_in_a_tsv_swallows_no_rows(write):
    text = 'user_id\titem_id\tquery\nu1\ti1\t"red mug\nu2\ti2\tlamp\nu3\ti3\tx"\nu4\ti4\tz\n'
    with pytest.raises(UserError, match="from line 2 on: a quoted field goes over several lines"):
        read_interaction_table(write("t.tsv", text))


def test_an_optional_column_with_a_mistake_can_be_left_out(write):
    path = write("t.csv", "user_id,item_id,date\nu,a,2020-01-02\nu,b,\n")
    with pytest.raises(UserError, match="--time_column=''"):
        read_interaction_table(path)
    assert len(read_interaction_table(path, time="")) == 2
