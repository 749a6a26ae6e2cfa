"""Checkpoint files: what goes in comes out, failures harm nothing, code never runs."""

import errno
import io
import os
import pickle
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recbole_ssr.errors import UserError
from recbole_ssr.train import checkpoint

PLAIN = (dict, list, tuple, str, int, float, bool, type(None), torch.Tensor)


def types_in(obj):
    yield type(obj)
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield from types_in(key)
            yield from types_in(value)
    elif isinstance(obj, (list, tuple)):
        for value in obj:
            yield from types_in(value)


def test_a_nested_state_survives_the_file(tmp_path):
    state = {
        "epoch": 3,
        "best": -float("inf"),
        "done": False,
        "none": None,
        "weights": OrderedDict(w=torch.arange(6.0).reshape(2, 3)),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "betas": (0.9, 0.999),
        "by_user": defaultdict(list, {7: [torch.tensor([1]), torch.tensor([2])]}),
        "device": torch.device("cpu"),
        "array": np.array([[1.5, np.nan]], dtype=np.float32),
        "size": torch.Size([2, 3]),
    }
    checkpoint.save(state, tmp_path / "a.pth")
    back = checkpoint.load(tmp_path / "a.pth")
    assert (back["epoch"], back["best"], back["done"], back["none"]) == (3, -np.inf, False, None)
    assert torch.equal(back["weights"]["w"], state["weights"]["w"])
    assert torch.equal(back["parameter"], torch.ones(2)) and not back["parameter"].requires_grad
    assert back["betas"] == (0.9, 0.999) and back["size"] == (2, 3)
    assert [t.item() for t in back["by_user"][7]] == [1, 2]
    assert back["device"] == torch.device("cpu")
    assert back["array"].dtype == np.float32
    np.testing.assert_array_equal(back["array"], state["array"])


def test_the_file_holds_plain_types_only(tmp_path):
    state = {"a": np.arange(3), "b": sp.eye(3, format="lil"), "c": np.float64(2.0), 4: {"d": ()}}
    plain = checkpoint.to_plain(state)
    assert set(types_in(plain)) <= set(PLAIN)
    checkpoint.save(state, tmp_path / "a.pth")
    raw = torch.load(tmp_path / "a.pth", weights_only=True)
    assert set(types_in(raw)) <= set(PLAIN)
    assert raw["c"] == 2.0 and type(raw["c"]) is float


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["?", "u1", "<i8", ">i4", "u2", "f2", "<f4", "f8", "c8", "U3", "M8[s]"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
)
def test_every_array_returns_bit_for_bit(array):
    array = array[::-1] if array.ndim else array
    back = checkpoint.from_plain(checkpoint.to_plain(array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.tobytes() == array.tobytes()


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_transposed_read_only_and_matrix_arrays():
    array = np.arange(6).reshape(2, 3).T
    array.flags.writeable = False
    np.testing.assert_array_equal(checkpoint.from_plain(checkpoint.to_plain(array)), array)
    matrix = np.asmatrix([[1.0, 2.0], [3.0, 4.0]])
    back = checkpoint.from_plain(checkpoint.to_plain(matrix))
    np.testing.assert_array_equal(back * back, matrix * matrix)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_every_sparse_format_returns(form, kind):
    dense = np.zeros((4, 6), dtype=np.float32)
    dense[[0, 2, 3], [5, 0, 3]] = 1.5, -2.0, 3.0
    matrix = getattr(sp, f"{form}_{kind}")(dense)
    back = checkpoint.from_plain(checkpoint.to_plain(matrix))
    assert type(back) is type(matrix) and back.dtype == matrix.dtype
    np.testing.assert_array_equal(back.toarray(), dense)


class Text(str):
    """A subclass, which a pickle would name as a class to import."""


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, np.array([object()]), 1j, np.dtype("f4"), Text("x")]
)
def test_other_types_are_named_with_their_path(value):
    with pytest.raises(TypeError, match=r"state\['outer'\]\[1\]\['inner'\] is a .*\."):
        checkpoint.to_plain({"outer": [0, {"inner": value}]})


def test_the_tag_is_reserved():
    with pytest.raises(TypeError, match="reserved"):
        checkpoint.to_plain({checkpoint.TAG: "array"})


class FullDisk(io.FileIO):
    """A file that takes `room` bytes."""

    room = 0

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


# A failure in the first write and one in the middle reach us as different exceptions of torch.
@pytest.mark.parametrize("room", [0, 1000])
def test_a_full_disk_harms_nothing(tmp_path, monkeypatch, room):
    path = tmp_path / "a.pth"
    checkpoint.save({"epoch": 1}, path)
    before = path.read_bytes()
    monkeypatch.setattr(FullDisk, "room", room)
    monkeypatch.setattr(checkpoint, "open", FullDisk, raising=False)
    with pytest.raises(UserError, match=r"disk full .*a\.pth \([\d,]+ bytes free\)"):
        checkpoint.save({"epoch": 2, "w": torch.zeros(5000)}, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.pth"]


def test_a_limit_on_the_size_of_files_is_named(tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"file too large .*a\.pth .*ulimit -f"):
            checkpoint.save({"w": torch.zeros(5000)}, tmp_path / "a.pth")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_a_failure_at_the_last_step_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint.os, "replace", refuse)
    with pytest.raises(UserError, match="cannot write a checkpoint in the folder .*Permission"):
        checkpoint.save({}, tmp_path / "a.pth")
    assert os.listdir(tmp_path) == []


def test_an_error_that_is_not_the_disks_passes_through(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(checkpoint.torch, "save", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        checkpoint.save({}, tmp_path / "a.pth")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="folder .*nowhere"):
        checkpoint.save({}, tmp_path / "nowhere" / "a.pth")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="folder .*file"):
        checkpoint.save({}, tmp_path / "file" / "a.pth")


def test_the_file_gets_the_permissions_of_an_ordinary_file(tmp_path):
    checkpoint.save({}, tmp_path / "a.pth")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a.pth").stat().st_mode == (tmp_path / "b").stat().st_mode


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_is_refused_and_does_not_run(tmp_path, writer, protocol):
    state, path = {"epoch": 1, "w": Malicious(tmp_path / "ran")}, tmp_path / "a.pth"
    if writer == "torch":
        torch.save(state, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps(state, protocol=protocol))
    with pytest.raises(UserError, match="refused.*could run code"):
        checkpoint.load(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_reported(tmp_path, keep):
    path = tmp_path / "a.pth"
    checkpoint.save({"w": torch.zeros(500)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(path)


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        checkpoint.load(tmp_path / "missing.pth")
    with pytest.raises(UserError, match="directory"):
        checkpoint.load(tmp_path)
    (tmp_path / "text").write_text("hello world " * 9)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path / "text")
    torch.save([1, 2], tmp_path / "list")
    with pytest.raises(UserError, match="holds a list"):
        checkpoint.load(tmp_path / "list")


def test_forged_content_is_refused(tmp_path):
    forged = checkpoint.to_plain(sp.csr_matrix(np.eye(3)))
    forged["parts"]["indices"] = checkpoint.to_plain(np.array([0, 1, 10**6], dtype=np.int32))
    unknown = {checkpoint.TAG: "program"}
    objects = {**checkpoint.to_plain(np.arange(2)), "dtype": "|O"}
    for i, content in enumerate([forged, unknown, objects]):
        torch.save({"x": content}, tmp_path / f"{i}.pth")
        with pytest.raises(UserError, match="damaged"):
            checkpoint.load(tmp_path / f"{i}.pth")


# Rot


def same(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key]
        for key in a)


def flipped(content, places):
    changed = bytearray(content)
    for place in places:
        changed[place] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("sealed", [True, False], ids=["with a digest", "of an older version"])
def test_no_flipped_bit_gives_another_state(tmp_path, sealed):
    state, path = {"w": torch.arange(40.0), "epoch": 3, "name": "last"}, tmp_path / "a.pth"
    if sealed:
        checkpoint.save(state, path)
    else:
        torch.save(state, path)
    whole, refused = path.read_bytes(), 0
    assert same(checkpoint.load(path), state)
    for place in range(0, len(whole), 3):
        path.write_bytes(flipped(whole, [place]))
        try:
            assert same(checkpoint.load(path), state), place
        except UserError as error:
            refused += 1
            assert "damaged" in str(error) or "refused" in str(error)
    assert refused == len(range(0, len(whole), 3)) if sealed else refused > 0


def test_rot_in_the_weights_is_named(tmp_path):
    path = tmp_path / "a.pth"
    checkpoint.save({"w": torch.zeros(5000)}, path)
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, range(len(whole) // 2, len(whole) // 2 + 200)))
    assert torch.load(path, weights_only=True)["w"].any(), "torch itself does not notice"
    with pytest.raises(UserError, match=r"a\.pth is damaged .*digest"):
        checkpoint.load(path)


def test_plain_weights_without_any_checksum_are_refused(tmp_path):
    torch.save({"w": torch.zeros(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="damaged or no checkpoint"):
        checkpoint.load(tmp_path / "a.pth")
