"""Files that are written whole or not at all."""

import os

import pytest

from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded, in_one_step, sweep


def test_what_is_written_takes_the_place_of_the_file_at_the_end(tmp_path):
    path = tmp_path / "made" / "a.npz"
    with in_one_step(path) as draft:
        assert draft.suffix == ".npz" and draft.parent == path.parent
        draft.write_text("one")
        assert not path.exists()
    with in_one_step(path) as draft:
        draft.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two" and os.listdir(path.parent) == ["a.npz"]


@pytest.mark.parametrize("error", [ValueError("no number"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.json"
    path.write_text("older")
    with pytest.raises(type(error)), in_one_step(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "older" and os.listdir(tmp_path) == ["a.json"]


def test_what_cannot_be_written_is_said_with_its_remedy(tmp_path):
    path = tmp_path / "a.json"
    words = r"cannot write .*a\.json: No space left on device\. Free some$"
    with pytest.raises(UserError, match=words), in_one_step(path, "Free some") as draft:
        draft.write_text("half")
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_text("")
    words = r"cannot write .*b\.json: (File exists|Not a directory)$"
    with pytest.raises(UserError, match=words), in_one_step(tmp_path / "file" / "b.json"):
        pass


def test_an_error_without_a_number_is_said_as_it_is(tmp_path):
    with pytest.raises(UserError, match=r"a\.npy: 800 requested and 100 written$"), \
            in_one_step(tmp_path / "a.npy"):
        raise OSError("800 requested and 100 written")


def test_writers_that_never_wrote_leave_the_older_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("older")
    with pytest.raises(UserError, match="cannot write .*No such file"), in_one_step(path):
        pass
    assert path.read_text() == "older"


def test_a_sweep_removes_drafts_and_nothing_else(tmp_path):
    drafts = [".last.pth.0123abcd.tmp", ".best.pth.ff.tmp", ".4242.metrics.json"]
    with pytest.raises(KeyboardInterrupt), in_one_step(tmp_path / "a.json") as draft:
        drafts.append(draft.name)
        raise KeyboardInterrupt
    kept = ["last.pth", "metrics.json", ".hidden", ".gitignore", "a.tmp", "4242.json"]
    for name in drafts + kept:
        (tmp_path / name).write_text("x")
    (tmp_path / ".folder.tmp").mkdir()
    sweep(tmp_path, older_than=60)
    assert set(os.listdir(tmp_path)) == {*drafts, *kept, ".folder.tmp"}
    sweep(tmp_path)
    assert set(os.listdir(tmp_path)) == {*kept, ".folder.tmp"}
    sweep(tmp_path / "nowhere")


def test_a_home_that_there_is_not_stays_as_written(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    paths = "~/runs", "~nobody-of-this-name/runs", "a/~b", "/x"
    assert [str(expanded(path)) for path in paths] == ["/home/me/runs", *paths[1:]]
