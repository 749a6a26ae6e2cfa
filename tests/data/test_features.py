import io
import logging
import os
import tracemalloc
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_ssr.cache import InBlocks, content_key
from recbole_ssr.corruption import Corruption
from recbole_ssr.data import feature_files, features
from recbole_ssr.data.feature_files import open_matrix
from recbole_ssr.data.features import list_modalities, load_item_features, write_features
from recbole_ssr.dataset_prep.published_features import FeatureSource
from recbole_ssr.errors import UserError

ITEMS = ["[PAD]", "a", "b", "c", "d"]
# Every example writes its files anew, so that sharing the folder does no harm.
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=SHARED_FOLDER)


def table(tokens, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(len(tokens), dim)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Rows c, a, x, b: one row the dataset does not know, and no row for d."""
    write_features(tmp_path, "text", table("caxb"), list("caxb"))
    return tmp_path


def load(folder, items=ITEMS, **options):
    return load_item_features(folder, items, **{"scaling": "none", **options})


def error_of(*args, **options):
    with pytest.raises(UserError) as caught:
        load(*args, **options)
    return str(caught.value)


def spoil(folder, matrix, tokens, name="text"):
    """Write the two files as they are, without the checks of write_features."""
    np.save(folder / f"{name}.npy", matrix)
    (folder / f"{name}.tokens").write_bytes("".join(f"{t}\n" for t in tokens).encode())
    return folder


def test_rows_follow_item_ids(folder):
    stored = table("caxb")
    result = load(folder)
    matrix = result.matrix("text")
    expected = np.stack([np.zeros(3), stored[1], stored[3], stored[0], np.zeros(3)])
    assert torch.equal(matrix, torch.from_numpy(expected.astype(np.float32)))
    assert matrix.dtype == torch.float32 and matrix.is_contiguous()
    assert result.has_feature("text").tolist() == [False, True, True, True, False]
    assert result.coverage("text") == 0.75
    assert result.dim("text") == 3
    assert result.modalities == ("text",)


@QUICK
@given(
    order=st.permutations(range(6)),
    scaling=st.sampled_from(features.SCALINGS),
    fill=st.sampled_from(["zero", "mean"]),
)
def test_order_of_the_file_does_not_matter(tmp_path, order, scaling, fill):
    tokens, matrix = list("abcxyz"), table("abcxyz")
    order = list(order)
    write_features(tmp_path / "sorted", "text", matrix, tokens)
    write_features(tmp_path / "moved", "text", matrix[order], [tokens[i] for i in order])
    one, other = (
        load(tmp_path / name, scaling=scaling, fill=fill).matrix("text")
        for name in ("sorted", "moved")
    )
    assert torch.equal(one, other)


@QUICK
@given(order=st.permutations(range(1, 5)))
def test_rows_move_with_the_items(tmp_path, order):
    write_features(tmp_path, "text", table("caxb"), list("caxb"))
    moved = load(tmp_path, [ITEMS[i] for i in [0, *order]]).matrix("text")
    assert torch.equal(moved, load(tmp_path).matrix("text")[[0, *order]])


def test_pad_is_no_item_even_if_a_row_bears_its_name(tmp_path):
    write_features(tmp_path, "text", table("abc") + 9, ["[PAD]", "a", "b"])
    result = load(tmp_path, fill="mean")
    assert not result.has_feature("text")[0]
    assert not result.matrix("text")[0].any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_float_type_arrives_as_float32(tmp_path, dtype):
    values = np.array([[1.5, -2.0], [0.25, 4.0]], dtype=dtype)
    write_features(tmp_path, "text", values, ["a", "b"])
    matrix = load(tmp_path).matrix("text")
    assert matrix.dtype == torch.float32
    assert matrix[1:3].tolist() == [[1.5, -2.0], [0.25, 4.0]]


def test_token_files_of_other_systems(tmp_path):
    spoil(tmp_path, table("ab"), [])
    (tmp_path / "text.tokens").write_bytes(b"\xef\xbb\xbfa\r\nb\xe2\x80\xa8c")
    result = load(tmp_path, ["[PAD]", "a", "b\u2028c"])
    assert result.coverage("text") == 1.0


def test_a_row_of_zeros_is_none(tmp_path, caplog):
    """Zeros stand for a missing picture in many files; alone in its column, 0 is a value."""
    rows = np.array([[1, 2], [0, 0], [3, 4]], dtype=np.float32)
    write_features(tmp_path, "image", rows, ["a", "b", "x"])
    write_features(tmp_path, "price", rows[:, :1], ["a", "b", "x"])
    with caplog.at_level("INFO"):
        result = load(tmp_path, ["[PAD]", "a", "b", "c"])
    assert result.has_feature("image").tolist() == [False, True, False, False]
    assert result.has_feature("price").tolist() == [False, True, True, False]
    assert "1 of 3 items (33.3 %), 2 filled with zero (1 whose row is all zeros), 1 rows of" in (
        caplog.text)
    assert result.stored_rows("image") == 2
    mean = load(tmp_path, ["[PAD]", "a", "b", "c"], fill="mean").matrix("image")
    assert mean.tolist() == [[0, 0], [1, 2], [1, 2], [1, 2]]
    assert "have no row, or one of zeros, for instance ['b']" in error_of(
        tmp_path, ["[PAD]", "a", "b"], fill="error")
    write_features(tmp_path, "image", 0 * rows, ["a", "b", "x"])
    assert "rows of all items are zeros" in error_of(tmp_path, ["[PAD]", "a", "b"])


def test_l2_gives_unit_rows_and_keeps_zero_rows(tmp_path):
    rows = np.array([[3.0, 4.0], [0.0, 0.0], [1e30, 1e30]], dtype=np.float32)
    write_features(tmp_path, "text", rows, ["a", "b", "c"])
    matrix = load(tmp_path, scaling="l2").matrix("text")
    half = 0.5**0.5
    expected = torch.tensor([[0, 0], [0.6, 0.8], [0, 0], [half, half], [0, 0]])
    torch.testing.assert_close(matrix, expected)


def test_standardise_uses_the_items_of_this_dataset_only(tmp_path):
    rows = table("abcx", dim=4)
    rows[:, 1] = 0.1
    rows[3] = 1e6
    write_features(tmp_path, "text", rows, list("abcx"))
    matrix = load(tmp_path, scaling="standardise", fill="mean").matrix("text")
    present = matrix[1:4].double()
    varying = [0, 2, 3]
    torch.testing.assert_close(present.mean(0), torch.zeros(4).double(), atol=1e-6, rtol=0)
    deviation = present[:, varying].std(0, unbiased=False)
    torch.testing.assert_close(deviation, torch.ones(3).double(), atol=1e-5, rtol=0)
    assert not matrix[:, 1].any(), "a constant column becomes exactly zero"
    assert not matrix[4].any(), "the mean of standardised columns is zero"


@pytest.mark.parametrize("scaling", ["none", "l2"])
def test_mean_fill_is_the_mean_of_scaled_present_rows(folder, scaling):
    zero = load(folder, scaling=scaling).matrix("text")
    mean = load(folder, scaling=scaling, fill="mean").matrix("text")
    torch.testing.assert_close(mean[4], zero[1:4].mean(0))
    assert torch.equal(mean[:4], zero[:4])


def test_results_do_not_depend_on_the_block_size(tmp_path, monkeypatch):
    items = ["[PAD]"] + [str(i) for i in range(40)]
    write_features(tmp_path, "text", table(range(37), dim=5), range(37))

    def matrices():
        return [load(tmp_path, items, scaling=s).matrix("text") for s in features.SCALINGS]

    whole = matrices()
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", 100)
    for one, other in zip(whole, matrices()):
        assert torch.equal(one, other)


def test_a_mapped_matrix_is_never_copied_whole(tmp_path, monkeypatch):
    rows, dim = 4096, 256
    write_features(tmp_path, "text", np.ones((rows, dim), np.float32), range(rows))
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", 2**16)
    tracemalloc.start()
    load(tmp_path, ["[PAD]", "7"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows * dim * 4 / 2


def test_partial_coverage_is_logged(folder, caplog):
    with caplog.at_level(logging.INFO, logger="recbole_ssr"):
        load(folder)
    assert [record.getMessage() for record in caplog.records] == [
        "features text: 3 of 4 items (75.0 %), 1 filled with zero, 1 rows of the file unused"
    ]


def test_fill_error_names_the_missing_items(folder):
    message = error_of(folder, [*ITEMS, "e", "f", "g"], fill="error")
    assert "4 of the dataset's 7 items" in message
    assert "['d', 'e', 'f']" in message and "feature_fill" in message
    assert load(folder, ITEMS[:4], fill="error").coverage("text") == 1.0


def test_no_overlap_is_an_error_that_shows_both_sides(folder):
    message = error_of(folder, ["[PAD]", "i1", "i2", "i3", "i4"])
    assert "['c', 'a', 'x']" in message and "['i1', 'i2', 'i3']" in message


def test_modalities_are_all_or_those_named(folder):
    write_features(folder, "image-v1.5", table("ab"), ["a", "b"])
    (folder / "._junk.npy").write_bytes(b"")
    assert list_modalities(folder) == ("image-v1.5", "text")
    assert load(folder).modalities == ("image-v1.5", "text")
    assert load(folder, modalities="text").modalities == ("text",)
    assert load(folder, modalities=["text", "image-v1.5"]).modalities == ("text", "image-v1.5")


def test_absent_modality_suggests_the_nearest(folder):
    message = error_of(folder, modalities=["txt"])
    assert "'txt'" in message and "Did you mean 'text'?" in message
    with pytest.raises(UserError, match="Did you mean 'text'"):
        load(folder).matrix("txet")
    assert "modalities is empty" in error_of(folder, modalities=[])


def test_missing_or_empty_folder(tmp_path):
    assert "does not exist" in error_of(tmp_path / "nowhere")
    message = error_of(tmp_path)
    assert str(tmp_path) in message and ".tokens" in message


@pytest.mark.parametrize("name", ["id", "../up", "", ".hidden", "a/b", 7])
def test_unusable_names(folder, name):
    with pytest.raises(UserError, match="modality name"):
        write_features(folder, name, table("ab"), ["a", "b"])
    assert "modality name" in error_of(folder, modalities=[name])
    assert "reserved" in error_of(spoil(folder, table("ab"), ["a", "b"], name="id"))


@pytest.mark.parametrize(
    "option, value, hint", [("fill", "zeros", "zero"), ("scaling", "standardize", "standardise")]
)
def test_unknown_policy(folder, option, value, hint):
    message = error_of(folder, **{option: value})
    assert f"feature_{option} is {value!r}" in message and f"Did you mean '{hint}'?" in message


ONES, SQUARE = np.ones((3, 2)), np.ones((3, 2, 2))
OBJECTS = np.array([["x"], [None], [1.0]], dtype=object)


@pytest.mark.parametrize(
    "matrix, tokens, parts",
    [
        (np.ones(3), "abc", ["shape (3,)"]),
        (SQUARE, "abc", ["shape (3, 2, 2)"]),
        (np.ones((3, 0)), "abc", ["shape (3, 0)"]),
        (ONES.astype(int), "abc", ["type int64", "float32"]),
        (ONES.astype(bool), "abc", ["type bool"]),
        (ONES.astype(complex), "abc", ["type complex128"]),
        (OBJECTS, "abc", ["text.npy is no readable matrix"]),
        (ONES, "ab", ["text.tokens has 2 tokens", "3 rows"]),
        (ONES, "aba", ["rows 0 and 2", "'a'"]),
        (ONES, ["a", "", "c"], ["row 1", "blank"]),
        (ONES, ["a", "b", " \t"], ["row 2", "blank"]),
    ],
)
def test_unusable_content(tmp_path, matrix, tokens, parts):
    message = error_of(spoil(tmp_path, matrix, tokens))
    assert str(tmp_path / "text") in message and all(part in message for part in parts)
    with pytest.raises(UserError):
        write_features(tmp_path / "new", "text", matrix, tokens)
    assert not (tmp_path / "new").exists(), "what cannot be read back is never written"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_no_finite_float32(tmp_path, monkeypatch, value):
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", 8 * 3 * 2)
    matrix = table("abcde").astype(np.float64)
    matrix[3, 2] = matrix[4, 0] = value
    message = error_of(spoil(tmp_path, matrix, "abcde"))
    assert "row 3 (item 'd')" in message and "column 2" in message
    with pytest.raises(UserError, match="row 3"):
        write_features(tmp_path, "text", matrix, "abcde")


def test_unusable_tokens(folder):
    (folder / "text.tokens").write_bytes(b"\xff\xfe\n")
    assert "not UTF-8" in error_of(folder)
    (folder / "text.tokens").unlink()
    message = error_of(folder)
    assert "text.tokens is missing" in message and "one per line" in message
    with pytest.raises(UserError, match="broken over lines"):
        write_features(folder, "text", table("ab"), ["a", "b\nc"])


def saved(save):
    buffer = io.BytesIO()
    save(buffer, table("caxb"))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [saved(np.save)[:-5], b"", b"x" * 99, saved(np.savez)])
def test_damaged_matrix(folder, content):
    path = folder / "text.npy"
    path.write_bytes(content)
    message = error_of(folder)
    assert str(path) in message and "numpy.save" in message


def test_interrupted_write_never_mixes_old_and_new(folder, monkeypatch):
    moves = []

    def fail_second(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise OSError("disk full")
        os.rename(source, target)

    monkeypatch.setattr(features.os, "replace", fail_second)
    with pytest.raises(OSError, match="disk full"):
        write_features(folder, "text", table("bxac", seed=1), list("bxac"))
    assert "text.tokens is missing" in error_of(folder)
    assert [path.name for path in folder.iterdir()] == ["text.npy"], "no temporary file stays"


def test_fingerprint_follows_every_input(folder):
    first = load(folder).fingerprint

    def other(place, name="text", tokens="caxb", seed=0):
        write_features(folder / place, name, table("caxb", seed=seed), list(tokens))
        return load(folder / place).fingerprint

    assert len(first) == 64 and load(folder).fingerprint == first
    assert other("copy") == first, "the place of the files is no input"
    others = [
        other("renamed", name="image"),
        other("values", seed=1),
        other("tokens", tokens="cayb"),
        load(folder, ["[PAD]", "b", "a", "c", "d"]).fingerprint,
        load(folder, fill="mean").fingerprint,
        load(folder, scaling="l2").fingerprint,
    ]
    assert len({first, *others}) == 7


def test_pickle_holds_no_matrix(tmp_path):
    write_features(tmp_path, "text", table("abcd", dim=20_000), list("abcd"))
    result = load(tmp_path)
    result.matrix("text")
    data = ForkingPickler.dumps(result)
    assert len(data) < 4_000
    again = ForkingPickler.loads(data)
    assert torch.equal(again.matrix("text"), result.matrix("text"))
    assert again.fingerprint == result.fingerprint


@pytest.mark.parametrize("change", ["matrix", "tokens", "gone"])
def test_changed_files_are_noticed(folder, change):
    result = load(folder)
    data = ForkingPickler.dumps(result)
    if change == "matrix":
        write_features(folder, "text", table("caxb", seed=1), list("caxb"))
    elif change == "tokens":
        write_features(folder, "text", table("caxb"), list("acxb"))
    else:
        (folder / "text.npy").unlink()
    for features_of_then in (result, ForkingPickler.loads(data)):
        with pytest.raises(UserError, match="text.npy"):
            features_of_then.matrix("text")


@pytest.mark.parametrize("shape", ["(-1, 2)", "(True, 2)", "(3, True)", "(10**30, 2)", "(3, 2.0)"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_a_header_with_sizes_that_no_matrix_has(folder, shape, version):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin1")
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    path = folder / "text.npy"
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + text + b"\0" * 24)
    with pytest.raises(UserError, match="text.npy"):
        open_matrix(path)
    with pytest.raises(UserError, match="text.npy"):
        FeatureSource(path, []).load()


def test_files_that_are_nearly_a_modality_are_no_silence(folder):
    (folder / "image.NPY").write_bytes((folder / "text.npy").read_bytes())
    (folder / "image.tokens").write_bytes((folder / "text.tokens").read_bytes())
    with pytest.raises(UserError, match="image.NPY is read under the name image.npy"):
        list_modalities(folder)
    (folder / "image.NPY").unlink()
    with pytest.raises(UserError, match="image.tokens has no image.npy"):
        list_modalities(folder)


def test_a_damaged_header_is_an_error_whatever_the_byte(folder):
    sound, refused = (folder / "text.npy").read_bytes(), 0
    for position in range(8, 70):
        for value in (0, 40, 255):
            spoilt = bytearray(sound)
            spoilt[position] = value
            (folder / "text.npy").write_bytes(spoilt)
            try:  # a few headers stay readable: they differ in blanks only
                load(folder)
            except UserError:
                refused += 1
    assert refused > 120


@pytest.mark.parametrize("options", [
    {"scaling": scaling, "fill": fill} for scaling in features.SCALINGS for fill in ("zero", "mean")
] + [{"scaling": "l2", "corruption": Corruption({"text": 0.3}, {"text": 0.2}, seed=4)}])
def test_rows_in_blocks_are_those_of_the_matrix(tmp_path, monkeypatch, options):
    monkeypatch.setattr(feature_files, "_BLOCK_BYTES", 300)
    write_features(tmp_path, "text", table(range(37), dim=5), range(37))
    loaded = load(tmp_path, ["[PAD]"] + [str(i) for i in range(40, -1, -1)], **options)
    blocks = list(loaded.blocks("text"))
    assert len(blocks) > 3 and torch.equal(torch.cat(blocks), loaded.matrix("text"))


def test_a_matrix_in_blocks_has_the_key_of_the_whole():
    F = table(range(40))
    assert content_key("a", InBlocks("float32", (40, 3), (F[k:k + 7] for k in range(0, 40, 7))),
                       "b") == content_key("a", F, "b")
