import gzip
import logging
import re
import struct
import subprocess
import sys

import made_amazon
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_ssr.data.features import load_item_features
from recbole_ssr.dataset_prep import amazon_images
from recbole_ssr.dataset_prep.amazon_images import write_image_features
from recbole_ssr.errors import UserError

DIM = 6
SIZE = 10 + 4 * DIM
SHOP = made_amazon.small_shop(dim=DIM)
ITEMS = SHOP.core_items
QUICK = settings(max_examples=30, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path):
    """The image features of the made shop."""
    return made_amazon.write_image_features(tmp_path / "images.b", SHOP.vectors)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "features"


def error_of(path, folder, items=ITEMS, dim=DIM):
    before = path.read_bytes()
    with pytest.raises(UserError) as caught:
        write_image_features(path, folder, items, dim=dim)
    assert str(path) in str(caught.value) and path.read_bytes() == before
    assert not folder.exists() or not any(folder.iterdir()), "a file was left behind"
    return str(caught.value)


def stored(folder, modality="image"):
    tokens = (folder / f"{modality}.tokens").read_text().splitlines()
    return dict(zip(tokens, np.load(folder / f"{modality}.npy")))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("block", [1, 3 * SIZE + 1, 2**23])
def test_rows_of_the_items_and_only_they(tmp_path, folder, suffix, block, monkeypatch, caplog):
    monkeypatch.setattr(amazon_images, "_BLOCK_BYTES", block)
    path = made_amazon.write_image_features(tmp_path / f"i.b{suffix}", SHOP.vectors)
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        missing = write_image_features(path, folder, ITEMS, dim=DIM)
    assert missing == SHOP.without_image and len(missing) == 2
    assert (folder / "image.missing").read_text() == "".join(f"{item}\n" for item in missing)
    result = stored(folder)
    assert list(result) == [item for item in SHOP.vectors if item in set(ITEMS)]
    assert all((vector == SHOP.vectors[item]).all() for item, vector in result.items())
    assert "vectors of 33 of 35 items" in caplog.text
    features = load_item_features(folder, ["[PAD]", *ITEMS])
    assert features.coverage("image") == 33 / 35


def test_bytes_by_hand(tmp_path, folder):
    path = tmp_path / "i.b"
    path.write_bytes(b"B00000000A" + struct.pack("<2f", 0.5, -2) + b"000123456X"
                     + struct.pack("<2f", 1, 3))
    assert write_image_features(path, folder, ["000123456X"], "picture", dim=2) == []
    assert stored(folder, "picture")["000123456X"].tolist() == [1, 3]
    assert sorted(p.name for p in folder.iterdir()) == ["picture.npy", "picture.tokens"]


def test_a_list_of_missing_items_of_before_goes(path, folder):
    write_image_features(path, folder, ITEMS, dim=DIM)
    present = [item for item in ITEMS if item in SHOP.vectors]
    assert write_image_features(path, folder, present, dim=DIM) == []
    assert not (folder / "image.missing").exists()


def test_missing_keeps_the_order_of_the_items_and_odd_tokens_are_missing(path, folder):
    odd = ["short", "B" * 11, "Größe12345", "", "B\t34567890", ITEMS[0] + "\0"]
    items = [odd[0], ITEMS[5], *odd[1:], ITEMS[9]]
    assert write_image_features(path, folder, np.array(items, dtype=object), dim=DIM) == odd
    assert list(stored(folder)) == [ITEMS[5], ITEMS[9]]


def test_the_default_width_is_that_of_the_files(tmp_path, folder):
    shop = made_amazon.small_shop()
    path = made_amazon.write_image_features(tmp_path / "i.b", shop.vectors)
    assert path.stat().st_size == len(shop.vectors) * 16_394
    write_image_features(path, folder, shop.core_items)
    assert np.load(folder / "image.npy").shape == (33, 4096)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_other_lengths_name_size_remainder_and_place(tmp_path, folder, suffix):
    whole = b"".join(k.encode() + v.tobytes() for k, v in SHOP.vectors.items())
    path = made_amazon.write_bytes(tmp_path / f"i.b{suffix}", whole[:-3])
    n = len(SHOP.vectors)
    message = error_of(path, folder)
    assert f"{n * SIZE - 3:,} bytes" in message and f"{n - 1} records of {SIZE} bytes" in message
    assert f"{SIZE - 3} more from byte {(n - 1) * SIZE:,} on" in message and "cut off" in message


def test_a_wrong_width_is_noticed(path, folder):
    # The same length in records of another width: 14 x 34 bytes are 34 x 14.
    made_amazon.write_image_features(path, dict(list(SHOP.vectors.items())[:14]))
    message = error_of(path, folder, dim=1)
    assert "record 1 (from 0)" in message and "another format" in message


def test_ids_that_are_no_text(path, folder):
    content = bytearray(path.read_bytes())
    content[7 * SIZE + 2] = 0xE9
    path.write_bytes(content)
    message = error_of(path, folder)
    assert "record 7 (from 0)" in message and "\\xe9" in message and "ASCII" in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(path, folder, value):
    vectors = {item: vector.copy() for item, vector in SHOP.vectors.items()}
    item = ITEMS[6]
    vectors[item][4] = value
    made_amazon.write_image_features(path, vectors)
    message = error_of(path, folder)
    number = list(vectors).index(item)
    assert f"record {number} (from 0), item {item!r}, has {value} in column 4" in message
    others = [token for token in ITEMS if token != item]
    assert write_image_features(path, folder, others, dim=DIM) == SHOP.without_image


def test_repeats_count_once_where_they_agree(path, folder):
    repeated = SHOP.vectors[ITEMS[7]]
    with open(path, "ab") as file:
        file.write(ITEMS[7].encode() + repeated.tobytes())
    write_image_features(path, folder, ITEMS, dim=DIM)
    assert (folder / "image.tokens").read_text().splitlines().count(ITEMS[7]) == 1
    for name in folder.iterdir():
        name.unlink()
    with open(path, "ab") as file:
        file.write(ITEMS[7].encode() + (repeated + 1).tobytes())
    message = error_of(path, folder)
    assert f"record {len(SHOP.vectors) + 1} (from 0)" in message and ITEMS[7] in message


def test_a_file_of_other_items(path, folder):
    message = error_of(path, folder, ["A" * 10, "C" * 10, "D" * 10, "E" * 10])
    assert "none of the 4 items" in message and "another category" in message
    assert str(list(SHOP.vectors)[:3]) in message and str(["A" * 10, "C" * 10, "D" * 10]) in message
    assert "none of the 1 items" in error_of(path, folder, ["short"])


def test_files_that_are_no_features(tmp_path, folder):
    path = tmp_path / "i.b"
    for content, word in [(b"", "is empty"), (gzip.compress(b""), "is empty"),
                          (b"<!DOCTYPE html>\n<p>404", "web page"),
                          (gzip.compress(b"<html>404"), "web page")]:
        path.write_bytes(content)
        message = error_of(path, folder)
        assert word in message and "download it again" in message
    with pytest.raises(UserError, match="does not exist"):
        write_image_features(tmp_path / "none.b", folder, ITEMS, dim=DIM)
    with pytest.raises(UserError, match="is a folder"):
        write_image_features(tmp_path, folder, ITEMS, dim=DIM)


PACKED = gzip.compress(b"".join(k.encode() + v.tobytes() for k, v in SHOP.vectors.items()))


@given(cut=st.integers(1, len(PACKED) - 1))
@QUICK
def test_cut_off_gzip_leaves_nothing(tmp_path, cut):
    path, folder = tmp_path / "i.b.gz", tmp_path / "features"
    path.write_bytes(PACKED[:cut])
    assert re.search("cut off|damaged", error_of(path, folder))


MEASURE = """
import sys
from recbole_ssr.dataset_prep.amazon_images import write_image_features

def peak():  # of this process alone: ru_maxrss starts at what the parent had when it forked
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

before = peak()
write_image_features(sys.argv[1], sys.argv[2], [f"K{n:09d}" for n in range(2_000)])
sys.stdout.write(str(peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path, folder):
    path, n_records, block = tmp_path / "big.b", 25_000, 500
    record = np.dtype([("id", "S10"), ("vector", "<f4", (4096,))])
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for start in range(0, n_records, block):
            records = np.zeros(block, dtype=record)
            numbers = np.arange(start, start + block)
            # One in twelve is kept, spread over the file, up to 2,000.
            kept = (numbers % 12 == 0) & (numbers // 12 < 2_000)
            records["id"] = [f"K{n // 12:09d}" if keep else f"X{n:09d}"
                             for n, keep in zip(numbers.tolist(), kept)]
            records["vector"][:, 0] = numbers
            records["vector"][:, 1:] = rng.random(4095, dtype=np.float32)
            records.tofile(file)
    assert path.stat().st_size == n_records * 16_394
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path), str(folder)], check=True,
                          capture_output=True, text=True)
    assert int(done.stdout) < 150 * 2**20, f"{int(done.stdout) / 2**20:.0f} MiB"
    matrix = np.load(folder / "image.npy", mmap_mode="r")
    assert matrix.shape == (2_000, 4096)
    assert (matrix[:, 0] == 12 * np.arange(2_000)).all()
    assert not (folder / "image.missing").exists()
