"""Downloads: what has its name is whole, and every failure says what to do."""

import http.client
import json
import multiprocessing
import ssl
import urllib.error

import numpy as np
import pytest
from flaky_server import free_port, serve

from recbole_ssr.dataset_prep import download
from recbole_ssr.dataset_prep.download import fetch
from recbole_ssr.errors import UserError

SIZE = 400_000
BREAK = 150_000
WHAT = "the ratings of toys"


@pytest.fixture(autouse=True)
def at_once_and_direct(monkeypatch):
    """No pause between attempts, no proxy to this machine."""
    monkeypatch.setattr(download, "_PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def data(tmp_path):
    """A file on the server's side; a function that writes another version of it."""
    source = tmp_path / "server"
    source.mkdir()

    def write(seed=0, size=SIZE):
        contents = np.random.default_rng(seed).bytes(size)
        (source / "toys.csv").write_bytes(contents)
        return contents

    write.folder = source
    return write


@pytest.fixture
def place(tmp_path):
    return tmp_path / "raw" / "toys.csv"


def get(server, place, **options):
    return fetch(server.url("toys.csv"), place, WHAT, show_progress=False, **options)


def part_of(place):
    return place.with_name("toys.csv.part")


def assert_only(place, *names):
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(names)


def test_a_whole_file_in_one_request(data, place):
    contents = data()
    with serve(data.folder) as server:
        assert get(server, place) == place
    assert place.read_bytes() == contents
    assert_only(place, "toys.csv")
    assert [(r.range, r.status) for r in server.requests] == [(None, 200)]


@pytest.mark.parametrize("status, words", [(None, "an empty file"), (204, "no file .HTTP 204")])
def test_an_answer_without_a_file_is_none(data, place, status, words):
    data(size=0)
    with (serve(data.folder, status=status) as server,
          pytest.raises(UserError, match=f"the server sent {words}")):
        get(server, place)
    assert not place.parent.exists()


def test_a_range_that_is_answered_in_pieces_is_asked_for_until_the_end(data, place):
    contents = data()
    with serve(data.folder, drop_after=BREAK, most=SIZE // 5) as server:
        get(server, place)
    assert place.read_bytes() == contents and len(server.requests) > 3


def test_a_server_that_continues_another_version_starts_anew(data, place):
    data()
    with serve(data.folder, drop_after=BREAK, drops=9) as server:
        with pytest.raises(UserError):
            get(server, place, attempts=1)
        contents = data(seed=1)
        server.drops, server.ignore_if_range = 0, True
        get(server, place)
    assert place.read_bytes() == contents


def test_an_existing_file_is_left_alone(data, place):
    data()
    place.parent.mkdir()
    place.write_bytes(b"mine")
    with serve(data.folder) as server:
        assert get(server, place) == place
    assert place.read_bytes() == b"mine" and server.requests == []


def test_a_broken_connection_goes_on_where_it_broke(data, place):
    contents = data()
    with serve(data.folder, drop_after=BREAK, drops=2) as server:
        get(server, place)
    assert place.read_bytes() == contents
    assert [r.range for r in server.requests] == [
        None, f"bytes={BREAK}-", f"bytes={2 * BREAK}-"]
    assert [r.status for r in server.requests] == [200, 206, 206]
    assert all(r.if_range for r in server.requests[1:])


def test_a_broken_chunked_answer_goes_on(data, place):
    contents = data()
    with serve(data.folder, drop_after=BREAK, chunked=True) as server:
        get(server, place)
    assert place.read_bytes() == contents
    # Of a broken block nothing is kept.
    assert server.requests[1].range == f"bytes={BREAK // download._BLOCK * download._BLOCK}-"


@pytest.mark.parametrize("setting", [{"ignore_range": True}, {"etag": False}])
def test_without_ranges_or_versions_it_starts_anew(data, place, setting):
    contents = data()
    with serve(data.folder, drop_after=BREAK, **setting) as server:
        get(server, place)
    assert place.read_bytes() == contents
    assert [r.status for r in server.requests] == [200, 200]


def test_an_interrupted_call_is_continued_by_the_next(data, place, monkeypatch):
    contents = data()

    def interrupted(*_):
        raise KeyboardInterrupt

    with serve(data.folder, drop_after=BREAK) as server:
        with monkeypatch.context() as patch:
            patch.setattr(download.time, "sleep", interrupted)
            with pytest.raises(KeyboardInterrupt):
                get(server, place)
        assert not place.exists() and part_of(place).read_bytes() == contents[:BREAK]
        get(server, place)
    assert place.read_bytes() == contents
    assert server.requests[-1].range == f"bytes={BREAK}-"


def test_a_file_that_changed_in_between_is_fetched_whole(data, place):
    data()
    with serve(data.folder, drop_after=BREAK, drops=9) as server:
        with pytest.raises(UserError):
            get(server, place, attempts=1)
        changed, server.drop_after = data(seed=1), None
        get(server, place)
    assert place.read_bytes() == changed
    assert server.requests[-1].range and server.requests[-1].status == 200


def test_a_part_of_another_address_is_not_continued(data, place):
    contents = data()
    place.parent.mkdir()
    part_of(place).write_bytes(b"something else")
    about = place.with_name("toys.csv.part.json")
    about.write_text(json.dumps({"url": "http://other/toys.csv", "validator": '"x"'}))
    with serve(data.folder) as server:
        get(server, place)
    assert place.read_bytes() == contents and server.requests[0].range is None


def test_a_complete_part_needs_no_request(data, place, monkeypatch):
    contents = data()
    with serve(data.folder) as server:
        with monkeypatch.context() as patch:
            patch.setattr(download.os, "replace", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                get(server, place)
        get(server, place)
    assert len(server.requests) == 1 and place.read_bytes() == contents


def test_a_part_longer_than_the_file_starts_anew(data, place):
    contents = data()
    with serve(data.folder, drop_after=BREAK) as server:
        with pytest.raises(UserError):
            get(server, place, attempts=1)
        with open(part_of(place), "ab") as part:
            part.write(bytes(SIZE))
        get(server, place)
    assert place.read_bytes() == contents
    assert [r.status for r in server.requests] == [200, 416, 200]


def test_breaking_without_progress_gives_up_and_keeps_the_part(data, place):
    contents = data()
    with (serve(data.folder, drop_after=BREAK, drops=99, ignore_range=True) as server,
          pytest.raises(UserError) as error):
        get(server, place, attempts=3)
    assert len(server.requests) == 3
    assert part_of(place).read_bytes() == contents[:BREAK] and not place.exists()
    text = str(error.value)
    assert WHAT in text and f"broke at {BREAK:,} of {SIZE:,} bytes, 3 times in a row" in text
    assert f"{BREAK:,} bytes are kept in {part_of(place)}; the same command goes on" in text
    assert text.endswith(f"Download it by hand from {server.url('toys.csv')} and put it at {place}")


def test_a_part_without_version_is_not_promised_to_go_on(data, place):
    data()
    with (serve(data.folder, drop_after=BREAK, drops=9, etag=False) as server,
          pytest.raises(UserError, match="the next try starts anew")):
        get(server, place, attempts=2)


@pytest.mark.parametrize("status, words", [
    (404, "has no such file .HTTP 404"), (403, "refuses access .HTTP 403"),
    (418, "answers .*HTTP 418")])
def test_a_refusal_is_final(data, place, status, words):
    data()
    with serve(data.folder, status=status) as server, pytest.raises(UserError, match=words) as e:
        get(server, place)
    assert len(server.requests) == 1 and server.url("toys.csv") in str(e.value)
    assert not place.parent.exists()


def test_a_failing_server_is_asked_again(data, place):
    contents = data()
    with serve(data.folder, status=[503, 429]) as server:
        get(server, place)
    assert place.read_bytes() == contents
    assert [r.status for r in server.requests] == [503, 429, 200]


def test_a_server_that_keeps_failing(data, place):
    data()
    with (serve(data.folder, status=500) as server,
          pytest.raises(UserError, match=r"the server fails \(HTTP 500\), 4 times")):
        get(server, place)
    assert len(server.requests) == 4
    assert not place.parent.exists()


def test_a_web_page_is_not_the_data(data, place):
    data()
    with (serve(data.folder, content_type="text/html; charset=utf-8") as server,
          pytest.raises(UserError, match="web page, which is not the data")):
        get(server, place)
    assert not place.parent.exists()


def test_nobody_listens(place):
    url = f"http://127.0.0.1:{free_port()}/toys.csv"
    with pytest.raises(UserError, match="127.0.0.1 refuses the connection") as error:
        fetch(url, place, WHAT, show_progress=False)
    assert f"from {url} and put it at {place}" in str(error.value)


@pytest.mark.parametrize("url", ["ftp://host/toys.csv", "file:///etc/hosts", "toys.csv"])
def test_other_addresses_are_refused(place, url):
    with pytest.raises(UserError, match="does not start with http"):
        fetch(url, place, WHAT)
    assert not place.parent.exists()


def certificate_error():
    error = ssl.SSLCertVerificationError(1, "bad")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize("cause, words, requests", [
    (download.socket.gaierror(-2, "Name or service not known"), "'host.test' cannot be found", 1),
    (certificate_error(), "certificate of host.test cannot be .*self-signed", 1),
    (TimeoutError("timed out"), "host.test did not answer within 7 s, 2 times", 2),
    (ConnectionResetError(104, "reset"), "the connection broke, 2 times", 2),
])
def test_reasons_in_plain_words(place, monkeypatch, cause, words, requests):
    asked = []

    class Web:
        def open(self, request, timeout):
            asked.append((request, timeout))
            raise urllib.error.URLError(cause)

    monkeypatch.setattr(download, "_web", Web)
    with pytest.raises(UserError, match=words):
        fetch("https://host.test/toys.csv", place, WHAT, False, attempts=2, timeout=7)
    assert len(asked) == requests


def test_a_malformed_address_is_a_user_error(place):
    with pytest.raises(UserError, match="could not be fetched"):
        fetch("http://127.0.0.1:port/toys.csv", place, WHAT, show_progress=False)


def test_a_full_disk(data, place, monkeypatch):
    data()

    def append(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_append", append)
    with (serve(data.folder) as server,
          pytest.raises(UserError, match=f"{place.parent} cannot be written .No space left")):
        get(server, place)


def test_a_place_below_a_file(data, tmp_path):
    data()
    (tmp_path / "raw").write_text("a file")
    with serve(data.folder) as server, pytest.raises(UserError, match="cannot be written"):
        get(server, tmp_path / "raw" / "toys.csv")


def test_reading_errors_are_tried_again(data, place, monkeypatch):
    contents = data()
    read, failures = http.client.HTTPResponse.read, [TimeoutError(), ConnectionResetError()]

    def unreliable(self, *args):
        block = read(self, *args)
        if failures and block:
            raise failures.pop()
        return block

    monkeypatch.setattr(http.client.HTTPResponse, "read", unreliable)
    with serve(data.folder) as server:
        get(server, place)
    assert place.read_bytes() == contents and not failures


def _hold(part, locked, done):
    import fcntl

    with open(part, "ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        locked.set()
        done.wait(20)


def test_two_processes_never_write_one_part(data, place):
    contents = data()
    place.parent.mkdir()
    context = multiprocessing.get_context("fork")
    locked, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(part_of(place), locked, done))
    other.start()
    assert locked.wait(20)
    with serve(data.folder) as server:
        with pytest.raises(UserError, match="another process is fetching it"):
            get(server, place)
        assert server.requests == [] and part_of(place).exists()
        done.set()
        other.join(20)
        get(server, place)
    assert place.read_bytes() == contents


def test_the_bar_counts_bytes(data, place, capsys):
    data()
    with serve(data.folder, drop_after=BREAK) as server:
        fetch(server.url("toys.csv"), place, WHAT)
    assert "100%" in (err := capsys.readouterr().err) and "toys.csv" in err
