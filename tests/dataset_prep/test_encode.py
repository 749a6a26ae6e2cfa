"""encode_items: order, cache, resuming, and what happens to items without a usable content."""

import hashlib
import logging

import numpy as np
import pytest

from recbole_ssr.dataset_prep.encode import BrokenContents, encode_items
from recbole_ssr.dataset_prep.tfidf import TfidfEncoder, split_words
from recbole_ssr.dataset_prep.vector_cache import VectorCache, vector_key
from recbole_ssr.errors import UserError

DIM = 3


class Lengths:
    """Encodes a text as (length, first byte, 1), counts its work, and fails when told to."""

    name, dim = "lengths", DIM

    def __init__(self, key="v1", fail_at=None, broken=(), bad=()):
        self.key, self.fail_at, self.broken, self.bad = key, fail_at, broken, bad
        self.batches = []

    def encode(self, batch):
        if self.fail_at == len(self.batches):
            raise KeyboardInterrupt
        reasons = {i: f"{text} is broken" for i, text in enumerate(batch) if text in self.broken}
        if reasons:
            raise BrokenContents(reasons)
        self.batches.append(list(batch))
        rows = [[np.nan if text in self.bad else len(text), text.encode()[0], 1] for text in batch]
        return np.array(rows, dtype=np.float32)

    def digest(self, content):
        return hashlib.sha256(content.encode()).digest()

    @property
    def encoded(self):
        return [text for batch in self.batches for text in batch]


@pytest.fixture
def run(tmp_path):
    def run(tokens, contents, encoder, **options):
        report = encode_items(tokens, contents, encoder, tmp_path / "features", "text",
                              cache_dir=tmp_path / "cache", show_progress=False, **options)
        matrix = np.load(tmp_path / "features" / "text.npy")
        names = (tmp_path / "features" / "text.tokens").read_text().splitlines()
        return report, dict(zip(names, matrix.tolist())), names
    return run


TOKENS = [f"i{n}" for n in range(10)]
TEXTS = ["x" * (n + 1) for n in range(10)]


def test_rows_are_in_the_order_of_the_tokens_whatever_the_batches(run):
    report, vectors, names = run(TOKENS, TEXTS[::-1], Lengths(), batch_size=3)
    assert names == TOKENS
    assert vectors == {f"i{n}": [10 - n, ord("x"), 1] for n in range(10)}
    assert report == ("lengths", DIM, 10, 0, [], [])


def test_batches_hold_texts_of_like_length(run):
    encoder = Lengths()
    run(TOKENS, TEXTS[::-1], encoder, batch_size=4)
    assert encoder.encoded == TEXTS
    assert [len(batch) for batch in encoder.batches] == [4, 4, 2]


def test_equal_contents_are_encoded_once(run):
    encoder = Lengths()
    report, vectors, _ = run(["a", "b", "c"], ["xx", "y", "xx"], encoder)
    assert sorted(encoder.encoded) == ["xx", "y"] and report.encoded == 2
    assert vectors["a"] == vectors["c"] == [2, ord("x"), 1]


def test_the_second_run_encodes_nothing(run):
    _, before, _ = run(TOKENS, TEXTS, Lengths())
    encoder = Lengths()
    report, after, _ = run(TOKENS, TEXTS, encoder)
    assert encoder.batches == [] and (report.encoded, report.from_cache) == (0, 10)
    assert after == before and report.dim == DIM


def test_only_a_changed_item_is_encoded_again(run):
    run(TOKENS, TEXTS, Lengths())
    encoder = Lengths()
    report, vectors, _ = run(TOKENS, [*TEXTS[:4], "changed", *TEXTS[5:]], encoder)
    assert encoder.encoded == ["changed"] and (report.encoded, report.from_cache) == (1, 9)
    assert vectors["i4"] == [7, ord("c"), 1] and vectors["i5"] == [6, ord("x"), 1]


def test_another_key_shares_nothing(run):
    run(TOKENS, TEXTS, Lengths())
    encoder = Lengths(key="v2")
    run(TOKENS, TEXTS, encoder)
    assert len(encoder.encoded) == 10


def test_an_interrupted_run_goes_on_where_it_was(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(TOKENS, TEXTS, Lengths(fail_at=2), batch_size=3)
    assert not list((tmp_path / "features").glob("*"))
    encoder = Lengths()
    report, vectors, _ = run(TOKENS, TEXTS, encoder, batch_size=3)
    assert encoder.encoded == TEXTS[6:] and (report.encoded, report.from_cache) == (4, 6)
    assert vectors == {f"i{n}": [n + 1, ord("x"), 1] for n in range(10)}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_cache_costs_time_only(run, tmp_path, caplog, damage):
    _, before, _ = run(TOKENS, TEXTS, Lengths(), batch_size=3)
    [shard] = (tmp_path / "cache" / "encodings").glob("*/*.vectors")
    data = bytearray(shard.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
    made = {"cut": data[:-5], "flip": data, "empty": b"", "other": b"something else entirely"}
    shard.write_bytes(made[damage])
    encoder = Lengths()
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        _, after, _ = run(TOKENS, TEXTS, encoder)
    assert after == before and str(shard) in caplog.text and "damaged" in caplog.text
    # The last batch of four had one text; other damage loses all.
    assert len(encoder.encoded) == (1 if damage in ("cut", "flip") else 10)
    caplog.clear()
    encoder = Lengths()
    assert run(TOKENS, TEXTS, encoder)[1] == before
    assert encoder.batches == [] and not caplog.records


def test_two_writers_of_one_cache_do_not_disturb_each_other(tmp_path):
    keys = [vector_key(bytes([n])) for n in range(4)]
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    with VectorCache(tmp_path, keys) as one, VectorCache(tmp_path, keys) as two:
        one.add(keys[:2], rows[:2])
        two.add(keys[2:], rows[2:])
        one.add(keys[3:], rows[3:])
        assert (one.rows([keys[3], keys[0]]) == rows[[3, 0]]).all()
    with VectorCache(tmp_path, keys[1:]) as both:
        assert keys[0] not in both and (both.rows(keys[1:]) == rows[1:]).all()


def test_items_without_content_are_listed(run, tmp_path):
    listed = tmp_path / "features" / "text.missing"
    report, _, names = run(["a", "b", "c", "d"], ["x", None, "  ", "y"], Lengths())
    assert report.missing == ["b", "c"] and names == ["a", "d"]
    assert listed.read_text() == "b\nc\n"
    run(["a"], ["x"], Lengths())
    assert not listed.exists()


def test_broken_contents_are_reported_with_their_reason(run, tmp_path):
    encoder = Lengths(broken=("bad",))
    report, _, names = run(["a", "b", "c", "d"], ["x", "bad", "yy", "bad"], encoder)
    assert report.broken == [("b", "bad is broken"), ("d", "bad is broken")]
    assert names == ["a", "c"] and report.encoded == 2 and report.missing == []
    assert (tmp_path / "features" / "text.missing").read_text() == "b\nd\n"


def test_values_that_are_not_finite_never_reach_file_or_cache(run):
    report, _, names = run(["a", "b"], ["x", "yy"], Lengths(bad=("yy",)))
    assert names == ["a"] and report.broken[0][0] == "b" and "not finite" in report.broken[0][1]
    report, vectors, _ = run(["a", "b"], ["x", "yy"], Lengths())
    assert report.encoded == 1 and vectors["b"] == [2, ord("y"), 1]


def test_errors_name_value_and_remedy(run, tmp_path):
    with pytest.raises(UserError, match=r"None of the 2 items.*none has any content.*leave text"):
        run(["a", "b"], ["", None], Lengths())
    with pytest.raises(UserError, match=r"for instance 'a': x is broken"):
        run(["a"], ["x"], Lengths(broken=("x",)))
    with pytest.raises(UserError, match="rows 0 and 1 both have the token 'a'"):
        run(["a", "a"], ["x", "y"], Lengths())
    with pytest.raises(UserError, match="batch_size is 0"):
        run(["a"], ["x"], Lengths(), batch_size=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file.*--cache_dir"):
        encode_items(["a"], ["x"], Lengths(), tmp_path / "f", "text", tmp_path / "file",
                     show_progress=False)


def test_out_of_memory_says_what_to_lower(run):
    class Greedy(Lengths):
        def encode(self, _):
            raise MemoryError

    with pytest.raises(UserError, match="out of memory with 2 items.*--batch_size"):
        run(["a", "b"], ["x", "y"], Greedy())


DOCUMENTS = ["red cotton shirt", "red cotton dress", "black usb cable"]


def test_tfidf_puts_texts_of_like_words_together(run):
    _, vectors, _ = run(["a", "b", "c"], DOCUMENTS, TfidfEncoder().fit(DOCUMENTS))
    a, b, c = (np.array(vectors[name]) for name in "abc")
    assert a @ b > 0.3 > abs(a @ c)
    assert np.allclose([a @ a, b @ b, c @ c], 1, atol=1e-4)


def test_tfidf_of_few_texts_keeps_all_angles():
    """With as many directions as there are, cosines are those of the TF-IDF weights themselves."""
    encoder = TfidfEncoder().fit(DOCUMENTS)
    rows = encoder.encode(DOCUMENTS)
    weights = encoder._words.transform(DOCUMENTS)
    assert encoder.dim == 3
    assert np.allclose(rows @ rows.T, (weights @ weights.T).toarray(), atol=1e-4)


def test_tfidf_reduces_its_width_and_says_so(caplog):
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        assert TfidfEncoder().fit(["one", "one two"]).dim == 2
    assert "allow 2 dimensions, not 384" in caplog.text
    assert TfidfEncoder().fit(["same", "same"]).dim == 1


def test_tfidf_of_many_texts_has_the_width_asked_for_and_repeats():
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in generator.integers(0, 60, size=12)) for _ in range(200)]
    first, second = TfidfEncoder(8).fit(texts), TfidfEncoder(8).fit(texts[::-1])
    assert first.dim == 8 and first.key == second.key
    assert (first.encode(texts) == second.encode(texts)).all()
    assert TfidfEncoder(8).fit([*texts, "new"]).key != first.key


def test_tfidf_leaves_out_texts_without_words(run):
    texts = [*DOCUMENTS, "!!! ..."]
    report, _, names = run(list("abcd"), texts, TfidfEncoder().fit(texts))
    assert names == list("abc") and report.broken[0][0] == "d"
    with pytest.raises(UserError, match=r"has a word, for instance \['!!!'\]"):
        TfidfEncoder().fit(["!!!", None])


def test_words_of_any_language():
    assert split_words("Größe: XL, Don't") == ["größe", "xl", "don", "t"]
    assert split_words("iPhone手机") == ["iphone", "手", "机"]
    assert split_words("カメラ") == ["カ", "メ", "ラ"]
    assert split_words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert split_words("한국어 책") == ["한국어", "책"]
