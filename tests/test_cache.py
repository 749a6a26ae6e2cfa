import logging
import os

import numpy as np

from recbole_ssr.cache import cache_folder, cached_array, content_key


def test_key_changes_with_every_input():
    a = np.arange(6.0)
    keys = {
        content_key("knn", 10, a), content_key("knn", 11, a), content_key("knn", 10, a + 1),
        content_key("knn", 10, a.reshape(2, 3)), content_key("knn", 10, a.astype("float32")),
    }
    assert len(keys) == 5
    assert content_key("knn", 10, a) == content_key("knn", 10, a.copy())


def test_an_array_is_built_once_and_again_after_deletion(tmp_path):
    calls = []

    def build():
        calls.append(1)
        return np.arange(5)

    first = cached_array(tmp_path, "key", build)
    again = cached_array(tmp_path, "key", build)
    assert len(calls) == 1 and np.array_equal(first, again)
    (tmp_path / "key.npy").unlink()
    assert np.array_equal(cached_array(tmp_path, "key", build), first) and len(calls) == 2


def test_a_damaged_file_is_built_again(tmp_path, caplog):
    (tmp_path / "key.npy").write_bytes(b"\x93NUMPY broken")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(cached_array(tmp_path, "key", lambda: np.arange(3)), np.arange(3))
    assert "built again" in caplog.text
    assert np.array_equal(np.load(tmp_path / "key.npy"), np.arange(3))


def test_only_what_was_stored_under_the_key_is_used(tmp_path, caplog):
    right = np.arange(12.0).reshape(3, 4)
    path = tmp_path / "key.npy"
    cached_array(tmp_path, "key", lambda: right)
    whole = path.read_bytes()
    cached_array(tmp_path, "other", lambda: right + 1)  # an entry of the same shape, whole
    replacements = [(tmp_path / "other.npy").read_bytes()]
    replacements += [whole[:-1], whole + b"x", b"", whole[:40]]
    replacements += [whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1:]
                     for k in range(0, len(whole), 5)]
    np.save(tmp_path / "plain.npy", right + 1)  # as older versions stored it, or a user
    replacements.append((tmp_path / "plain.npy").read_bytes())
    for content in replacements:
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.array_equal(cached_array(tmp_path, "key", lambda: right), right)
        assert "built again" in caplog.text
        assert path.read_bytes() == whole


def test_what_a_killed_process_was_writing_is_removed_after_a_day(tmp_path):
    old, new = (tmp_path / f".{digit * 32}.key.npy" for digit in "ab")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cached_array(tmp_path, "key", lambda: np.arange(3))
    assert sorted(os.listdir(tmp_path)) == sorted([new.name, "key.npy"])


def test_an_unusable_folder_costs_only_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        array = cached_array(tmp_path / "file" / "below", "key", lambda: np.arange(3))
    assert array.tolist() == [0, 1, 2]
    assert "going on without" in caplog.text or "unreadable" in caplog.text


def test_the_folder_is_the_argument_or_the_users(tmp_path, monkeypatch):
    assert cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("RECBOLE_SSR_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("RECBOLE_SSR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "recbole_ssr"
