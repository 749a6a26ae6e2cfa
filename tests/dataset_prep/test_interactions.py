"""Interactions, repeated pairs and the k-core, against slow direct computations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_ssr.dataset_prep.interactions import Interactions, InteractionsBuilder
from recbole_ssr.dataset_prep.kcore import k_core, without_repeats
from recbole_ssr.errors import UserError

ROWS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 3)), min_size=1,
                max_size=60)


def made(rows):
    users, items, times = zip(*rows)
    return Interactions.from_tokens([f"u{u}" for u in users], [f"i{i}" for i in items],
                                    ratings=np.arange(len(rows)), timestamps=times)


def triples(interactions):
    """(user, item, rating) of every row; ratings are the row numbers of the source."""
    return list(zip(interactions.user_tokens[interactions.users],
                    interactions.item_tokens[interactions.items], interactions.ratings))


def slow_core(rows, k):
    rows = list(rows)
    while True:
        kept = [r for r in rows if sum(r[0] == s[0] for s in rows) >= k
                and sum(r[1] == s[1] for s in rows) >= k]
        if len(kept) == len(rows):
            return kept
        rows = kept


@given(ROWS)
def test_tokens_are_numbered_by_first_appearance_and_all_occur(rows):
    result = made(rows)
    assert triples(result) == [(f"u{u}", f"i{i}", n) for n, (u, i, _) in enumerate(rows)]
    assert list(result.user_tokens) == list(dict.fromkeys(f"u{u}" for u, _, _ in rows))
    assert result.n_items == len({i for _, i, _ in rows}) and result.users.dtype == np.int32


@given(ROWS)
def test_chunks_give_what_one_piece_gives(rows):
    builder = InteractionsBuilder()
    for start in range(0, len(rows), 7):
        users, items, times = zip(*rows[start : start + 7])
        builder.add((f"u{u}" for u in users), (f"i{i}" for i in items),
                    range(start, start + len(users)), times)
    built, whole = builder.build(), made(rows)
    assert triples(built) == triples(whole)
    assert (built.timestamps == whole.timestamps).all()
    assert list(built.user_tokens) == list(whole.user_tokens)


def test_an_empty_builder_gives_no_interactions():
    built = InteractionsBuilder().build()
    assert len(built) == 0 and built.n_users == 0


@settings(deadline=None)
@given(ROWS, st.integers(1, 4))
def test_the_k_core_is_the_slow_one_and_a_fixed_point(rows, k):
    whole = made(rows)
    wanted = slow_core(triples(whole), k)
    if not wanted:
        with pytest.raises(UserError, match=f"at least {k} interactions each"):
            k_core(whole, k)
        return
    core = k_core(whole, k)
    assert triples(core) == wanted
    assert np.bincount(core.users).min() >= k and np.bincount(core.items).min() >= k
    assert triples(k_core(core, k)) == wanted


@pytest.mark.parametrize("k", [0, 1])
def test_a_core_of_one_keeps_all(k):
    whole = made([(0, 0, 0), (1, 1, 0), (1, 2, 0)])
    assert triples(k_core(whole, k)) == triples(whole)


@given(ROWS)
def test_the_earliest_of_repeated_rows_stays(rows):
    earliest = {}
    for n, (user, item, time) in enumerate(rows):
        earliest.setdefault((user, item), []).append((time, n))
    wanted = sorted((min(these)[1], f"u{user}", f"i{item}") for (user, item), these
                    in earliest.items())
    assert triples(without_repeats(made(rows))) == [(u, i, n) for n, u, i in wanted]
    first = sorted((these[0][1], f"u{user}", f"i{item}") for (user, item), these
                   in earliest.items())
    untimed = replace(made(rows), timestamps=None)
    assert triples(without_repeats(untimed)) == [(u, i, n) for n, u, i in first]


@given(ROWS, st.integers(0, 2**16 - 1))
def test_fixed_rows_stay_and_no_other_repeats_them(rows, bits):
    fixed = np.array([bool(bits >> n % 16 & 1) for n in range(len(rows))])
    seen, wanted = {row[:2] for row, stays in zip(rows, fixed) if stays}, []
    for n in sorted(range(len(rows)), key=lambda n: rows[n][2]):
        user, item, _ = rows[n]
        if fixed[n] or (user, item) not in seen:
            wanted.append((n, f"u{user}", f"i{item}"))
            seen.add((user, item))
    assert triples(without_repeats(made(rows), fixed)) == [(u, i, n) for n, u, i in sorted(wanted)]
