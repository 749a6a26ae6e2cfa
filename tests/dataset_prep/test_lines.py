import gzip
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_ssr.dataset_prep.lines import (
    first_line,
    is_gzip,
    read_blocks,
    read_lines,
    refuse_web_page,
)
from recbole_ssr.errors import UserError

TEXT = "".join(f"line {number}: Größe 尺寸\n" for number in range(200)).encode()
PACKED = gzip.compress(TEXT, mtime=0)
QUICK = settings(max_examples=40, deadline=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


def error_of(call, *args):
    with pytest.raises(UserError) as caught:
        list(call(*args))
    return str(caught.value)


def test_plain_and_packed_are_told_from_content(tmp_path):
    plain, packed = tmp_path / "a.gz", tmp_path / "b.json"  # suffixes that lie
    plain.write_bytes(TEXT)
    packed.write_bytes(PACKED)
    expected = list(enumerate(TEXT.decode().splitlines(), start=1))
    assert list(read_lines(plain)) == list(read_lines(packed)) == expected
    assert not is_gzip(plain) and is_gzip(packed)
    for path in plain, packed:
        blocks = list(read_blocks(path, 100))
        assert b"".join(blocks) == TEXT and {len(block) for block in blocks[:-1]} == {100}


def test_only_line_feeds_end_lines(tmp_path):
    path = tmp_path / "a"
    path.write_bytes("\ufeffone\r\n\ntwo\u2028\x0b\ufeffx\nno end".encode())
    assert list(read_lines(path)) == [(1, "one"), (2, ""), (3, "two\u2028\x0b\ufeffx"),
                                      (4, "no end")]


def test_members_of_gzip_follow_each_other(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n") + b"\0" * 9)
    assert [line for _, line in read_lines(path)] == ["a", "bc", "d"]


@given(cut=st.integers(1, len(PACKED) - 1))
@QUICK
def test_cut_off_gzip_is_said_and_left_alone(tmp_path, cut):
    path = tmp_path / "a.json.gz"
    path.write_bytes(PACKED[:cut])
    for message in error_of(read_lines, path), error_of(read_blocks, path, 64):
        assert str(path) in message and "download it again" in message
        assert cut == 1 or "cut off" in message
    assert path.read_bytes() == PACKED[:cut]


@given(position=st.integers(10, len(PACKED) - 1), flip=st.integers(1, 255))
@QUICK
def test_damaged_gzip_never_passes_for_data(tmp_path, position, flip):
    path = tmp_path / "a.json.gz"
    damaged = bytearray(PACKED)
    damaged[position] ^= flip
    path.write_bytes(damaged)
    try:  # a bit that fills up the last byte of the packed data changes nothing
        assert list(read_lines(path)) == list(enumerate(TEXT.decode().splitlines(), start=1))
    except UserError as error:
        assert "ownload it again" in str(error)
    assert path.read_bytes() == bytes(damaged)


def test_every_byte_of_the_packed_data_counts(tmp_path):
    path = tmp_path / "a.json.gz"
    for position in range(12, len(PACKED), 16):
        path.write_bytes(PACKED[:position] + bytes([PACKED[position] ^ 1]) + PACKED[position + 1:])
        assert "ownload it again" in error_of(read_lines, path)


def test_wrong_checksum_and_rubbish_after_the_end(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(PACKED[:-8] + bytes(4) + PACKED[-4:])
    assert "damaged" in error_of(read_lines, path) and "CRC" in error_of(read_lines, path)
    path.write_bytes(PACKED + b"rubbish")
    assert "damaged" in error_of(read_lines, path)


def test_other_encodings_name_line_and_byte(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"good\n" + "A,Größe\n".encode("latin-1"))
    message = error_of(read_lines, path)
    assert f"{path}, line 2: byte 5 of the line is 0xf6" in message and "UTF-8" in message


def test_missing_files_folders_and_forbidden_files(tmp_path, monkeypatch):
    assert "does not exist" in error_of(read_lines, tmp_path / "none")
    assert "is a folder" in error_of(read_blocks, tmp_path, 9)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert "cannot be read" in error_of(read_lines, tmp_path / "a")


def test_first_line_skips_blanks_and_refuses_empty_files(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\n  \r\nx \n")
    assert first_line(path) == (3, "x ")
    for content in b"", b"\n \n", gzip.compress(b""):
        path.write_bytes(content)
        assert "is empty" in error_of(first_line, path)


@pytest.mark.parametrize("start", ["<!DOCTYPE html>", "\n <html lang='en'>", "<?xml ?>"])
def test_web_pages_are_named(tmp_path, start):
    path = tmp_path / "a.json.gz"
    path.write_text(f"{start}\n<title>404 Not Found</title>")
    assert "web page" in error_of(first_line, path) and "ownload" in error_of(first_line, path)
    refuse_web_page(path, "<not a page>")


def test_an_error_of_the_reader_stays_its_own(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(TEXT)
    with pytest.raises(EOFError, match="mine"):
        for _ in read_lines(path):
            raise EOFError("mine")


def test_memory_is_that_of_lines(tmp_path):
    path = tmp_path / "big.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write((b"x" * 1023 + b"\n") * 1024)  # a mebibyte
    tracemalloc.start()
    assert sum(len(line) for _, line in read_lines(path)) == 60 * 1023 * 1024
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20, f"{peak:,} bytes"


def test_reading_does_not_write(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(PACKED)
    path.chmod(0o444)
    before = path.stat()
    list(read_lines(path))
    assert path.stat().st_mtime_ns == before.st_mtime_ns and path.read_bytes() == PACKED
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gz"]
