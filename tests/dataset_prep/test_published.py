"""Published folders: every layout brings its split as it is, and says what it cannot read."""

import json
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ssr.dataset_prep.published import LAYOUTS, read_published, remarks
from recbole_ssr.errors import UserError

# Pairs of (user, item) by part. User 4 and item 5 are never trained, item 4 has no interaction.
SPLIT = ([(0, 0), (0, 3), (1, 1), (2, 2), (3, 0)], [(0, 1), (4, 0)], [(1, 5), (2, 0), (4, 2)])
IMAGES = np.arange(12, dtype=np.float16).reshape(6, 2)


def parts_of(interactions):
    users = interactions.user_tokens[interactions.users].tolist()
    items = interactions.item_tokens[interactions.items].tolist()
    return tuple(sorted((u, i) for u, i, label in zip(users, items, interactions.labels)
                        if label == part) for part in range(3))


def expected(split=SPLIT, name=str):
    return tuple(sorted((name(u), name(i)) for u, i in part) for part in split)


def rows_of(split=SPLIT):
    return [(u, i, label) for label, part in enumerate(split) for u, i in part]


def write_mmrec(folder, split=SPLIT, head="userID\titemID\tx_label"):
    lines = [head, *("\t".join(map(str, row)) for row in rows_of(split))]
    (folder / "made.inter").write_text("\n".join(lines) + "\n")


def write_json(folder, split=SPLIT, names=("train", "val", "test")):
    for name, part in zip(names, split):
        content = {}
        for user, item in part:
            content.setdefault(str(user), []).append(item)
        (folder / f"{name}.json").write_text(json.dumps(content))


def write_matrices(folder, split=SPLIT, shape=(5, 6)):
    for name, part in zip(("trn", "val", "tst"), split):
        users, items = zip(*part)
        matrix = sp.coo_matrix((np.ones(len(part)), (users, items)), shape=shape)
        (folder / f"{name}Mat.pkl").write_bytes(pickle.dumps(matrix))


def write_recbole(folder, split=SPLIT, labels=True):
    rows = [(f"u{u}", f"i{i}", 5, 100 + n, label) for n, (u, i, label) in enumerate(rows_of(split))]
    head = ["user_id:token", "item_id:token", "rating:float", "timestamp:float", "x_label:float"]
    width = 5 if labels else 4
    lines = ["\t".join(map(str, row[:width])) for row in (head, *rows)]
    (folder / "made.inter").write_text("\n".join(lines) + "\n")
    (folder / "features").mkdir()
    np.save(folder / "features/image.npy", IMAGES)
    (folder / "features/image.tokens").write_text("".join(f"i{5 - k}\n" for k in range(6)))


WRITERS = {"mmrec": write_mmrec, "json": write_json, "pickle": write_matrices}


@pytest.fixture
def folder(tmp_path):
    """An empty folder with image features of six items, as three of the layouts have them."""
    folder = tmp_path / "made"
    folder.mkdir()
    np.save(folder / "image_feat.npy", IMAGES)
    return folder


def complaint(folder, kind=None):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as error:
        read_published(folder, kind)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return str(error.value)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("kind", WRITERS)
def test_the_published_split_is_honoured_exactly(folder, kind, asked):
    WRITERS[kind](folder)
    result = read_published(folder, kind if asked else None)
    assert parts_of(result.interactions) == expected() and result.kind == kind
    assert list(result.features) == ["image"]
    path, tokens = result.features["image"].path, result.features["image"].tokens
    assert path == folder / "image_feat.npy" and tokens == list("012345")
    matrix = result.features["image"].load()
    assert isinstance(matrix, np.memmap) and matrix.dtype == np.float16 and (matrix == IMAGES).all()
    assert {source.name for source in result.sources} == {
        path.name for path in folder.iterdir()} and all(p.is_file() for p in result.sources)
    assert any(kind in note for note in result.notes) != asked
    assert remarks(result.interactions) == [
        "users without a training interaction: 1 in valid, 1 in test, 1 in all",
        "items without a training interaction: 0 in valid, 1 in test, 1 in all"]
    assert "image: 1 rows are of items without interactions" in result.notes


def test_the_layouts_agree_to_the_row(tmp_path):
    result = []
    for kind, write in WRITERS.items():
        (tmp_path / kind).mkdir()
        write(tmp_path / kind)
        result.append(read_published(tmp_path / kind).interactions)
    for other in result[1:]:
        for column in ("users", "items", "user_tokens", "item_tokens", "labels"):
            one, two = getattr(result[0], column), getattr(other, column)
            assert one.dtype == two.dtype and (one == two).all()


def write_lists(folder, split=SPLIT):
    for name, part in zip(("train", "valid", "test"), split):
        lists = {}
        for user, item in part:
            lists.setdefault(user, []).append(item)
        (folder / f"{name}.txt").write_text(
            "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in lists.items()))


@pytest.mark.parametrize("kind, name", [("json", "val.json"), ("pickle", "valMat.pkl"),
                                        ("lightgcn", "valid.txt")])
def test_a_validation_part_may_be_absent(tmp_path, kind, name):
    {**WRITERS, "lightgcn": write_lists}[kind](tmp_path)
    assert parts_of(read_published(tmp_path, kind).interactions) == expected()
    (tmp_path / name).unlink()
    result = read_published(tmp_path)
    assert result.kind == kind
    assert parts_of(result.interactions) == expected((SPLIT[0], (), SPLIT[2]))
    assert tmp_path / name not in result.sources


def test_lists_of_lightgcn_by_hand(tmp_path):
    (tmp_path / "train.txt").write_text("0 4 2\n7 2 \n\n3\n")
    (tmp_path / "test.txt").write_text("7 4 0\n")
    result = read_published(tmp_path, "lightgcn").interactions
    assert result.user_tokens[result.users].tolist() == ["0", "0", "7", "7", "7"]
    assert result.item_tokens[result.items].tolist() == ["4", "2", "2", "4", "0"]
    assert result.labels.tolist() == [0, 0, 0, 2, 2]


@pytest.mark.parametrize("text, words", [("0 1\n0 x\n", "line 2: 'x' is no whole number"),
                                         ("0 -1\n", "line 1: '-1'"), ("0 1.5\n", "'1.5'"),
                                         (f"0 {2**31}\n", "line 1"), ("", "is empty")])
def test_a_line_that_is_no_list_of_ids_is_named(tmp_path, text, words):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text("0 1\n")
    with pytest.raises(UserError, match=f"train.txt.*{words}"):
        read_published(tmp_path)


@pytest.mark.parametrize("text, is_table", [
    ("0 4 5\n0 2 3\n1 4 5\n", True), ("0 4 5 99\n0 2 3 98\n", True),
    ("0 4 5\n1 2 3\n", False), ("0 4 5\n0 2\n", False), ("0 4\n0 2\n", False),
])
def test_a_table_of_ratings_is_no_list_of_items(tmp_path, text, is_table):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text("0 1\n")
    if not is_table:
        assert read_published(tmp_path).kind == "lightgcn"
        return
    with pytest.raises(UserError, match="train.txt has . numbers in every line.*--interactions"):
        read_published(tmp_path)


@pytest.mark.parametrize("token", ["", " ", "[PAD]"])
def test_what_is_no_id_is_named_by_line_and_words_are_ids(tmp_path, token):
    path = tmp_path / "made.inter"
    path.write_text("user_id:token\titem_id:token\nNA\tnull\nnan\tNone\n")
    result = read_published(tmp_path).interactions
    assert result.user_tokens.tolist() == ["NA", "nan"]
    assert result.item_tokens.tolist() == ["null", "None"]
    path.write_text(f"user_id:token\titem_id:token\nu\ti\nu\t{token}\n")
    with pytest.raises(UserError, match="line 3: item_id:token is"):
        read_published(tmp_path)


@pytest.mark.parametrize("labels", [True, False])
def test_our_own_layout_with_and_without_a_split(tmp_path, labels):
    write_recbole(tmp_path, labels=labels)
    result = read_published(tmp_path)
    assert result.kind == "recbole" and result.interactions.ratings.tolist() == [5] * 10
    assert result.interactions.timestamps.tolist() == list(range(100, 110))
    assert result.features["image"].tokens == ["i5", "i4", "i3", "i2", "i1", "i0"]
    if labels:
        split = tuple([(f"u{u}", f"i{i}") for u, i in part] for part in SPLIT)
        assert parts_of(result.interactions) == expected(split)
    else:
        assert result.interactions.labels is None
    assert len(result.sources) == 3


def test_a_label_of_clicks_is_no_split(tmp_path, caplog):
    (tmp_path / "made.inter").write_text("user_id:token\titem_id:token\tlabel:float\n"
                                         "u\ti\t1\nu\tj\t0\n")
    assert read_published(tmp_path, "recbole").interactions.labels is None
    assert "label is not read: every row counts" in caplog.text


@pytest.mark.parametrize("head", ["user_id:token\titem_id:token\tx_label:float",
                                  "userID\titemID\tlabel", "\ufeffuser\titem\tx_label",
                                  "USERID\tItemId\tX_Label"])
def test_spellings_of_the_header(folder, head):
    write_mmrec(folder, head=head)
    assert parts_of(read_published(folder).interactions) == expected()


def test_rating_and_time_are_read_where_they_are(folder):
    (folder / "made.inter").write_text(
        "userID\titemID\trating\ttimestamp\tx_label\n0\t0\t4.5\t1.39e9\t0.0\n1\t2\t3\t7.5\t2\n\n")
    result = read_published(folder).interactions
    assert result.ratings.tolist() == [4.5, 3] and result.timestamps.tolist() == [1390000000, 7.5]
    assert result.labels.tolist() == [0, 2]


def test_windows_line_ends(folder):
    write_mmrec(folder)
    path = folder / "made.inter"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert parts_of(read_published(folder).interactions) == expected()


@pytest.mark.parametrize("kind", WRITERS)
def test_pairs_in_two_parts_are_kept_and_noted(folder, kind):
    split = (SPLIT[0], [*SPLIT[1], (0, 0)], [*SPLIT[2], (0, 0), (1, 1)])
    WRITERS[kind](folder, split)
    result = read_published(folder)
    assert parts_of(result.interactions) == expected(split)
    assert "3 interactions are in two parts; a published split keeps them" in remarks(
        result.interactions)


def test_repeats_within_a_part_are_kept_and_noted(folder):
    write_mmrec(folder, ([*SPLIT[0], (0, 0)], *SPLIT[1:]))
    result = read_published(folder)
    assert len(result.interactions) == 11
    note = "1 interactions repeat one of the same part; a published split keeps them"
    assert note in remarks(result.interactions)


def test_entries_of_a_matrix_that_are_no_interaction(folder):
    write_matrices(folder)
    matrix = sp.coo_matrix(([1., 5., 0., 1.], ([0, 0, 1, 1], [0, 0, 0, 1])), shape=(5, 6))
    (folder / "trnMat.pkl").write_bytes(pickle.dumps(matrix))
    result = read_published(folder)
    assert parts_of(result.interactions)[0] == [("0", "0"), ("1", "1")]
    assert any(note.startswith("trnMat.pkl: 2 of 4 entries are zero") for note in result.notes)


def test_names_of_feature_files(folder):
    write_json(folder, names=("train", "valid", "test"))
    for name in ("text_feats", "v-features", "audio"):
        np.save(folder / f"{name}.npy", np.ones((8, 3), dtype=np.float32))
    np.save(folder / "user_graph.npy", np.ones((8, 3)))
    np.save(folder / "user_feat.npy", np.ones((8, 3)))
    (folder / "kg_feat.pt").write_bytes(b"torch")
    result = read_published(folder)
    assert sorted(result.features) == ["audio", "image", "text", "v"]
    assert result.features["v"].tokens == list("01234567")
    notes = result.notes
    assert "user_graph.npy is not read: item features are called <modality>_feat.npy" in notes
    assert "user_feat.npy is not read: features of users" in notes
    assert "kg_feat.pt is not read: save its matrix as kg_feat.npy" in result.notes


@pytest.mark.parametrize("rows", [6, 7])
def test_features_of_more_items_than_the_matrices_have_are_told(folder, rows, caplog):
    write_matrices(folder)
    np.save(folder / "image_feat.npy", np.ones((rows, 2)))
    assert list(read_published(folder).features) == ["image"]
    told = "image_feat.npy has 7 rows, but the matrices have a column for 6 items"
    assert (told in caplog.text) == (rows == 7)


def test_no_features_are_noted(tmp_path):
    write_mmrec(tmp_path)
    result = read_published(tmp_path)
    assert result.features == {} and f"{tmp_path} has no item features" in result.notes


@pytest.mark.parametrize("name, counts, users, features", [
    ("tiktok", (59541, 3051, 6130), 9308, {"image": (6710, 128), "audio": (6710, 128)}),
    ("baby-lattice", (118551, 21682, 20559), 19445, {"image": (7050, 128), "text": (7050, 128)}),
])
def test_real_folders(shared_data, name, counts, users, features):
    if not (shared_data / name).is_dir():
        pytest.skip(f"no folder {name} in shared/data")
    result = read_published(shared_data / name)
    assert tuple(np.bincount(result.interactions.labels)) == counts
    assert result.interactions.n_users == users and result.kind == "mmrec"
    # The folder may lie there without its features.
    assert not result.features or features == {
        m: source.load().shape for m, source in result.features.items()}
    (file,) = (shared_data / name).glob("*.inter")
    table = np.loadtxt(file, dtype=np.int64, skiprows=1)
    assert (result.interactions.labels == table[:, 2]).all()
    for side, (codes, tokens) in enumerate((
            (result.interactions.users, result.interactions.user_tokens),
            (result.interactions.items, result.interactions.item_tokens))):
        assert (tokens.astype(np.int64)[codes] == table[:, side]).all()
    if name == "tiktok":
        assert "users without a training interaction: 5 in valid, 5 in test, 10 in all" in (
            remarks(result.interactions))


# What is refused.

def test_nothing_known_lists_the_folder_and_the_layouts(folder):
    message = complaint(folder)
    assert "none of the known layouts. It holds image_feat.npy. Layouts are mmrec: one" in message
    assert all(text in message for text in LAYOUTS.values())


def test_two_layouts_are_ambiguous(folder):
    write_mmrec(folder)
    write_json(folder)
    message = complaint(folder)
    assert "could be of json and mmrec" in message and "--from" in message
    assert parts_of(read_published(folder, "json").interactions) == expected()


def test_unknown_kinds_and_folders(folder):
    assert "no layout 'mmrek', only mmrec, json" in complaint(folder, "mmrek")
    assert "Did you mean 'mmrec'?" in complaint(folder, "mmrek")
    with pytest.raises(UserError, match="nowhere is no folder.*Name the folder"):
        read_published(folder / "nowhere")
    with pytest.raises(UserError, match="image_feat.npy is no folder"):
        read_published(folder / "image_feat.npy")


def test_missing_and_doubled_files(folder):
    assert "has no .inter file" in complaint(folder, "mmrec")
    write_mmrec(folder)
    (folder / "more.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n")
    assert "made.inter, more.inter" in complaint(folder) and "Keep one" in complaint(folder)
    write_json(folder)
    (folder / "valid.json").write_text("{}")
    assert "val.json and valid.json are both there; keep one" in complaint(folder, "json")
    (folder / "test.json").unlink()
    (folder / "valid.json").unlink()
    assert "test.json is missing" in complaint(folder, "json")
    assert "trnMat.pkl is missing" in complaint(folder, "pickle")


@pytest.mark.parametrize("text, words", [
    ("userID\titemID\tx_label\n0\t0\t0\n0\t1\t3\n", "line 3: x_label is '3'. Labels are 0 train"),
    ("userID\titemID\tx_label\n0\t0\t\n", "line 2: x_label is ''"),
    ("userID\titemID\tx_label\n0\t0\t0.5\n", "line 2: x_label is '0.5'"),
    ("userID\titemID\tx_label\n0\t0\tnan\n0\t0\tx\n", "line 2: x_label is 'nan' (2 such lines)"),
    ("userID\titemID\tx_label\n0\t0\n", "line 2: x_label is ''"),
    ("userID\titemID\tx_label\n0\t-1\t0\n", "line 2: itemID is '-1'. Ids are whole numbers"),
    ("userID\titemID\tx_label\n1.5\t1\t0\n", "line 2: userID is '1.5'"),
    ("userID\titemID\tx_label\n0\tB000X\t0\n", "line 2: itemID is 'B000X'"),
    ("userID\titemID\tx_label\n0\t1\t0\n\n0\t2\t0\n", "line 3: x_label is ''"),
    ("userID\titemID\tx_label\n9999999999\t1\t0\n", "userID is '9999999999'. Ids end at"),
    ("userID\titemID\tx_label\n" + "9" * 30 + "\t1\t0\n", "line 2: userID is '999"),
    ("userID\titemID\tx_label\ttimestamp\n0\t1\t0\tsoon\n", "line 2: timestamp is 'soon'. Write a"),
    ("userID\titemID\tx_label\ttimestamp\n0\t1\t0\tinf\n", "line 2: timestamp is 'inf'"),
    ("userID\titemID\tx_label\n0\t1\t0\t7\n", "Write one interaction a line, with the 3 fields"),
    ("userID\titemID\tx_label\n0\t1\t0\n0\t1\t0\t7\n", "Expected 3 fields in line 3, saw 4"),
    ("userID\titemID\n0\t1\n", "line 1: no column x_label with 0 train, 1 valid, 2 test among "
     "userID, itemID. Add it, or draw a split, as by --split=ratio"),
    ("userID\tproduct\tx_label\n0\t1\t0\n", "no column itemID among userID, product, x_label"),
    ("userID,itemID,x_label\n0,1,0\n", "line 1: one column 'userID,itemID,x_label'. Separate"),
    ("userID\titemID\titemID\n0\t1\t0\n", "named twice"),
    ("0\t37\t5.0\t0\n0\t38\t5.0\t0\n", "in 0, 37, 5.0, 0. Does the first line lack names?"),
    ("0\t37\t5.0\n0\t38\t5.0\n", "--interactions. Does the first line lack names?"),
    ("userID\titemID\tx_label\n", "no line after its first"),
    ("", "line 1: one column ''"),
])
def test_mistakes_in_an_inter_file(folder, text, words):
    (folder / "made.inter").write_text(text)
    message = complaint(folder)
    assert str(folder / "made.inter") in message and words in message


def test_an_inter_file_that_is_no_text(folder):
    (folder / "made.inter").write_bytes(b"userID\titemID\tx_label\n\xff\xfe\t1\t0\n")
    assert "made.inter cannot be read" in complaint(folder)
    (folder / "made.inter").write_bytes(b"\xff\xfe")
    assert "Save it as UTF-8" in complaint(folder)


@pytest.mark.parametrize("text, words", [
    ('{"0": [1', "is no JSON, or cut off"),
    ("", "is no JSON, or cut off"),
    ("[" * 100_000, "is no JSON, or cut off"),
    ("[[0, 1]]", "holds a list, not items by user"),
    ("3", "holds a int"),
    ('{"a": [1]}', "the user id 'a' is no whole number"),
    ('{"-1": [1]}', "the user id '-1'"),
    ('{"0": [1], "0": [2]}', "user 0 comes twice"),
    ('{"0": [1], "00": [2]}', "user 00 comes twice"),
    ('{"0": 1}', "user 0 has 1 instead of a list"),
    ('{"0": {"1": 2}}', "instead of a list"),
    ('{"0": [1, "2"]}', "user 0 has the item '2'. Item ids are"),
    ('{"0": [1.0]}', "user 0 has the item 1.0"),
    ('{"0": [true]}', "user 0 has the item True"),
    ('{"0": [-1]}', "user 0 has the item -1"),
    ('{"0": [NaN]}', "user 0 has the item nan"),
    ('{"0": [99999999999]}', "user 0 has the item 99999999999"),
])
def test_mistakes_in_a_json_file(folder, text, words):
    write_json(folder)
    (folder / "val.json").write_text(text)
    message = complaint(folder)
    assert str(folder / "val.json") in message and words in message


def test_matrices_of_two_shapes(folder):
    write_matrices(folder)
    write_matrices(folder.parent, shape=(5, 7))
    (folder.parent / "tstMat.pkl").rename(folder / "tstMat.pkl")
    message = complaint(folder)
    assert "tstMat.pkl is 5 x 7, but trnMat.pkl is 5 x 6" in message and "of one dataset" in message


def test_a_matrix_that_would_run_code(folder):
    write_matrices(folder)
    (folder / "valMat.pkl").write_bytes(b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.")
    assert "valMat.pkl was not loaded: it asks for os.system" in complaint(folder)


@pytest.mark.parametrize("matrix, words", [
    (np.ones((5, 2)), "has 5 rows, but item ids reach 5: it needs 6"),
    (np.ones((6, 2), dtype=int), "has the shape (6, 2) and type int64"),
    (np.ones(6), "has the shape (6,) and type float64"),
    (np.ones((6, 0)), "image_feat.npy"),
    (np.array({0: [[1], [2]]}), "holds Python objects"),
    (np.array([["a"]] * 6, dtype=object), "holds Python objects"),
])
def test_features_that_cannot_be_used(folder, matrix, words):
    write_mmrec(folder)
    np.save(folder / "image_feat.npy", matrix)
    message = complaint(folder)
    assert str(folder / "image_feat.npy") in message and words in message


def test_two_files_of_one_modality(folder):
    write_mmrec(folder)
    np.save(folder / "image.npy", IMAGES)
    assert "are both of the modality image. Keep one" in complaint(folder)


@pytest.mark.parametrize("size", [0, 5, 9, 40, 100, 128, 140])
def test_features_cut_off(folder, size):
    write_mmrec(folder)
    whole = (folder / "image_feat.npy").read_bytes()
    (folder / "image_feat.npy").write_bytes(whole[:size])
    assert "download it again" in complaint(folder)


def test_every_flipped_byte_of_a_feature_header_is_an_error_or_a_sound_matrix(folder):
    write_mmrec(folder)
    whole = (folder / "image_feat.npy").read_bytes()
    for place in range(128):
        spoilt = bytearray(whole)
        spoilt[place] ^= 0x11
        (folder / "image_feat.npy").write_bytes(spoilt)
        try:
            assert read_published(folder).features["image"].load().ndim == 2
        except UserError as error:
            assert "image_feat.npy" in str(error)


def test_tokens_of_our_own_layout(tmp_path):
    write_recbole(tmp_path)
    (tmp_path / "features/image.tokens").write_text("i0\n")
    assert "image.tokens has 1 tokens, but image.npy has 6 rows" in complaint(tmp_path)
    (tmp_path / "features/image.tokens").unlink()
    assert "image.tokens cannot be read" in complaint(tmp_path)
    (tmp_path / "made.inter").write_text("user_id:token\titem_id:token\nu\t \n")
    assert "line 2: item_id:token is ' '. Write an id" in complaint(tmp_path)
