"""Damage to the bytes of a file: bits flipped, ends cut off, other content in its place."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

_SHARE = st.integers(0, 999)  # of the file, in thousandths
_OTHER = ("nothing", "zeros", "text", "json", "pickle", "array", "archive")
PLACES = ("folder", "link to nowhere", "gone")

# Where the damage is, its thousandths of the file; and the bits of each byte there that change.
DAMAGE = st.one_of(
    st.fixed_dictionaries({"do": st.just("flip"), "at": st.lists(_SHARE, min_size=1, max_size=5),
                           "bits": st.integers(1, 255)}),
    st.fixed_dictionaries({"do": st.just("flip at the start"),
                           "at": st.lists(st.integers(0, 160), min_size=1, max_size=3),
                           "bits": st.integers(1, 255)}),
    st.fixed_dictionaries({"do": st.just("cut"), "at": _SHARE}),
    st.fixed_dictionaries({"do": st.just("add"), "bytes": st.integers(1, 300)}),
    st.fixed_dictionaries({"do": st.just("fill"), "at": _SHARE, "bytes": st.integers(1, 300)}),
    st.fixed_dictionaries({"do": st.just("become"), "what": st.sampled_from(_OTHER)}),
    st.fixed_dictionaries({"do": st.just("become"), "what": st.sampled_from(PLACES)}),
)


def damage(file: Path, how: Mapping[str, object]) -> None:
    """Damage a file as a case of DAMAGE says."""
    if how.get("what") in PLACES:
        file.unlink(missing_ok=True)
        if how["what"] == "folder":
            file.mkdir()
        elif how["what"] == "link to nowhere":
            os.symlink("nowhere", file)
        return
    file.write_bytes(damaged(file.read_bytes(), how))


def damaged(content: bytes, how: Mapping[str, object]) -> bytes:
    """Return `content` with the damage of a case."""
    kind, found = how["do"], bytearray(content)
    if kind == "become":
        return _other(how["what"])
    if kind.startswith("flip"):
        for at in how["at"]:
            place = at if kind != "flip" else at * len(found) // 1000
            if place < len(found):
                found[place] ^= how["bits"]
    elif kind == "cut":
        del found[how["at"] * len(found) // 1000:]
    elif kind == "add":
        found += bytes(range(256))[: how["bytes"]]
    elif kind == "fill":
        start = how["at"] * len(found) // 1000
        end = min(start + how["bytes"], len(found))
        found[start:end] = bytes(end - start)
    return bytes(found)


def _other(what: str) -> bytes:
    if what == "array":
        file = io.BytesIO()
        np.save(file, np.arange(6.0, dtype=np.float32).reshape(2, 3))
        return file.getvalue()
    if what == "archive":
        file = io.BytesIO()
        np.savez(file, a=np.arange(3))
        return file.getvalue()
    return {"nothing": b"", "zeros": bytes(400), "text": b"user_id,item_id\n1,2\n",
            "json": json.dumps({"state_dict": {}, "epoch": 1}).encode(),
            "pickle": pickle.dumps({"state_dict": {}, "epoch": 1})}[what]
