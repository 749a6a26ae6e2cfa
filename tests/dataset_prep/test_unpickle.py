"""Pickled matrices: those of every scipy load, and nothing in a file is ever run."""

import builtins
import copyreg
import os
import pickle
import struct

import numpy as np
import pytest
import scipy.sparse as sp

from recbole_ssr.dataset_prep import unpickle
from recbole_ssr.dataset_prep.unpickle import load_sparse
from recbole_ssr.errors import UserError

MATRIX = np.array([[0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 3]])


def written(tmp_path, content):
    path = tmp_path / "trnMat.pkl"
    path.write_bytes(content)
    return path


def complaint(tmp_path, content):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_sparse(path)
    assert str(path) in str(error.value) and path.read_bytes() == content
    return str(error.value)


def entries(matrix):
    matrix = sp.coo_matrix(matrix)
    return sorted(zip(matrix.row.tolist(), matrix.col.tolist(), matrix.data.tolist()))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", [f"{form}_{kind}" for form in ("coo", "csr", "csc")
                                  for kind in ("matrix", "array")])
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1", "?"])
def test_what_scipy_writes_comes_back(tmp_path, protocol, name, dtype):
    matrix = getattr(sp, name)(MATRIX.astype(dtype))
    result = load_sparse(written(tmp_path, pickle.dumps(matrix, protocol)))
    assert type(result) is sp.coo_matrix and result.shape == (3, 4)
    assert (result.toarray() == MATRIX.astype(dtype)).all()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("form", ["coo", "csr", "csc"])
def test_empty_matrices_and_those_after_use(tmp_path, protocol, form):
    empty = load_sparse(written(tmp_path, pickle.dumps(sp.random(3, 5, 0, form), protocol)))
    assert empty.shape == (3, 5) and empty.nnz == 0
    used = sp.random(30, 20, 0.2, form, random_state=0).T
    used.sum_duplicates()
    result = load_sparse(written(tmp_path, pickle.dumps(used, protocol)))
    assert entries(result) == entries(used)


def test_duplicates_and_zeros_are_kept(tmp_path):
    matrix = sp.coo_matrix(([1., 1., 0.], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert load_sparse(written(tmp_path, pickle.dumps(matrix))).nnz == 3


def bytes_of(module, name, state):
    """Pickle a matrix as another version of scipy would: name, empty object, state, BUILD."""
    head = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b")\x81"
    return head + pickle.dumps(state, 2)[2:-1] + b"b."  # without its own PROTO and STOP


def coo_state(row=(0, 2, 2), col=(1, 0, 3), data=(2., 1., 3.), shape=(3, 4), index="i4"):
    return {"_shape": shape, "row": np.array(row, index), "col": np.array(col, index),
            "data": np.array(data), "has_canonical_format": np.bool_(True)}


@pytest.mark.parametrize("module", ["scipy.sparse.coo", "scipy.sparse._coo", "scipy.sparse"])
def test_old_module_names_and_attributes(tmp_path, module):
    content = bytes_of(module, "coo_matrix", coo_state())
    assert (load_sparse(written(tmp_path, content)).toarray() == MATRIX).all()
    compressed = sp.csr_matrix(MATRIX)
    state = {"_shape": (np.int64(3), np.int64(4)), "indptr": compressed.indptr,
             "indices": compressed.indices, "data": compressed.data}
    content = bytes_of(module.replace("coo", "csr"), "csr_matrix", state)
    assert (load_sparse(written(tmp_path, content)).toarray() == MATRIX).all()


def test_the_byte_order_of_other_machines(tmp_path):
    state = coo_state(data=np.array([2, 1, 3], ">f8"), row=np.array([0, 2, 2], ">i4"), index=">i4")
    result = load_sparse(written(tmp_path, bytes_of("scipy.sparse.coo", "coo_matrix", state)))
    assert (result.toarray() == MATRIX).all() and result.data.dtype.isnative


@pytest.mark.parametrize("old, new", [("numpy.core", "numpy._core"), ("numpy._core", "numpy.core")])
@pytest.mark.parametrize("protocol", [2, 4])
def test_names_of_numpy_1_and_2(tmp_path, protocol, old, new):
    content = pickle.dumps(sp.coo_matrix(MATRIX), protocol)
    old, new = (f"{core}.multiarray".encode() for core in (old, new))
    if protocol == 4:  # a text with its length before it, in a frame with its own
        old, new = (bytes([0x8C, len(name)]) + name for name in (old, new))
        changed = content.replace(old, new)
        size = struct.pack("<Q", len(changed) - 11)
        changed = changed[:3] + size + changed[11:]
    else:
        changed = content.replace(old, new)
    assert (load_sparse(written(tmp_path, changed)).toarray() == MATRIX).all()


def test_matrices_of_python_2(tmp_path):
    def text(raw):
        return b"U" + bytes([len(raw)]) + raw  # SHORT_BINSTRING, the str of Python 2

    def array(code, raw, n):
        return (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b")
                + b"tR(K\x01(K" + bytes([n]) + b"tcnumpy\ndtype\n(" + text(code)
                + b"K\x00K\x01tR(K\x03" + text(b"<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK"
                + b"\x00tb\x89" + text(raw) + b"tb")

    state = b"}(" + text(b"_shape") + b"(K\x02K\x03t"
    for name, values in (("row", [0, 1]), ("col", [2, 0])):
        state += text(name.encode()) + array(b"i4", np.array(values, "<i4").tobytes(), 2)
    state += text(b"data") + array(b"f8", np.array([1., 200.], "<f8").tobytes(), 2) + b"u"
    content = b"\x80\x02cscipy.sparse.coo\ncoo_matrix\n)\x81" + state + b"b."
    assert entries(load_sparse(written(tmp_path, content))) == [(0, 2, 1.), (1, 0, 200.)]


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("function, args, name", [
    (os.system, ("touch {}",), "system"),
    (builtins.eval, ("open({!r}, 'w')",), "eval"),
    (builtins.exec, ("open({!r}, 'w')",), "exec"),
    (builtins.open, ("{}", "w"), "open"),
    (builtins.getattr, (os, "system"), "getattr"),
    (os.makedirs, ("{}",), "makedirs"),
    (copyreg._reconstructor, (dict, dict, None), "_reconstructor"),
    (pickle.loads, (b"cos\nsystem\n.",), "loads"),
])
def test_no_function_is_ever_called(tmp_path, function, args, name, protocol):
    trace = tmp_path / "trace"
    args = [arg.format(str(trace)) if isinstance(arg, str) else arg for arg in args]
    if function is builtins.getattr:
        args[0] = Calls(__import__, "os")
        name = "__import__" if protocol < 2 else "getattr"
    hidden = sp.coo_matrix(MATRIX)
    hidden.extra = Calls(function, *args)  # behind a matrix that is well otherwise
    for content in (Calls(function, *args), hidden):
        message = complaint(tmp_path, pickle.dumps(content, protocol))
        assert "was not loaded: it asks for " in message and "could run code" in message
        assert not trace.exists()
    if protocol >= 2:
        assert name in message


@pytest.mark.parametrize("module, name", [
    ("os", "system"), ("numpy", "ndarray.__class__"), ("numpy", "load"), ("numpy", "memmap"),
    ("numpy.core.multiarray", "fromfile"), ("scipy.sparse", "load_npz"), ("scipy.sparse", "coo"),
    ("scipy.sparse._coo", "coo_matrix.__init__.__globals__"), ("builtins", "bytearray"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("codecs", "encode"),
    ("recbole_ssr.dataset_prep.unpickle", "load_sparse"), ("scipy.sparse._lil", "lil_matrix"),
])
def test_names_beside_the_admitted_are_refused(tmp_path, module, name):
    def short(text):
        return bytes([0x8C, len(text)]) + text.encode()

    by_stack = b"\x80\x04" + short(module) + short(name) + b"\x93."
    by_line = b"\x80\x02c" + f"{module}\n{name}\n.".encode()
    for content in (by_stack, by_line):
        message = complaint(tmp_path, content)
        assert f"not loaded: it asks for {module}.{name}" in message and "coo_matrix" in message


def test_the_stand_ins_keep_nothing_that_a_file_sets(tmp_path):
    """BUILD on a class or on its result cannot change what later files see."""
    before = {name: dict(vars(kind)) for name, kind in unpickle._ADMITTED.items()}
    for module, name in unpickle._ADMITTED:
        target = b"\x80\x02c" + f"{module}\n{name}\n".encode()
        for make in (b"", b")R", b")\x81"):
            for state in (b"}X\x06\x00\x00\x00formatX\x03\x00\x00\x00bads",
                          b"N}X\x06\x00\x00\x00formatX\x03\x00\x00\x00bads\x86"):
                complaint(tmp_path, target + make + state + b"b.")
    assert before == {name: dict(vars(kind)) for name, kind in unpickle._ADMITTED.items()}


class Abused:
    """A class of the file's own, whose __setstate__ would act."""

    def __setstate__(self, state):
        raise AssertionError("ran")

    def __getstate__(self):
        return {"a": 1}


@pytest.mark.parametrize("content, words", [
    (pickle.dumps(Abused()), "Abused"),
    (b"", "no pickle, cut off, or damaged"),
    (b"not a pickle", "no pickle, cut off, or damaged"),
    (b"PK\x03\x04zip", "no pickle, cut off, or damaged"),
    (b"\x80\x09.", "no pickle, cut off, or damaged"),
    (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "no pickle, cut off, or damaged"),
    (b"\x80\x02X\x01\x00\x00\x00iQ.", "no pickle, cut off, or damaged"),  # a persistent id
    (pickle.dumps({"a": 1}), "it holds a dict, no sparse matrix"),
    (pickle.dumps(np.eye(3)), "it holds a Array, no sparse matrix"),
    (pickle.dumps(None), "it holds a NoneType"),
    (b"\x80\x02cscipy.sparse\ncoo_matrix\n)\x81.", "it has no content"),
    (b"\x80\x02cscipy.sparse\ncoo_matrix\n.", "it holds a type"),
])
def test_what_is_no_matrix(tmp_path, content, words):
    assert words in complaint(tmp_path, content)


@pytest.mark.parametrize("protocol", [2, 5])
def test_every_truncation_is_an_error(tmp_path, protocol):
    content = pickle.dumps(sp.coo_matrix(MATRIX), protocol)
    for size in range(len(content)):
        with pytest.raises(UserError, match="trnMat.pkl"):
            load_sparse(written(tmp_path, content[:size]))


def test_every_flipped_byte_is_an_error_or_a_sound_matrix(tmp_path):
    content = pickle.dumps(sp.coo_matrix(MATRIX), 4)
    for place in range(len(content)):
        for flip in (1, 0x80):
            spoilt = bytearray(content)
            spoilt[place] ^= flip
            try:
                result = load_sparse(written(tmp_path, bytes(spoilt)))
            except UserError:
                continue
            assert result.nnz == 3 and np.isfinite(result.data).all()
            assert (result.row < result.shape[0]).all() and (result.row >= 0).all()


@pytest.mark.parametrize("change, words", [
    ({"row": (0, -1, 2)}, "entry 1 is in row -1 of a matrix of 3 x 4"),
    ({"col": (0, 1, 4)}, "entry 2 is in column 4 of a matrix of 3 x 4"),
    ({"data": (1., np.nan, 1.)}, "value 1 is no finite number"),
    ({"data": (1., np.inf, 1.)}, "value 1 is no finite number"),
    ({"data": (1., 1.)}, "3 rows, 3 columns and 2 values"),
    ({"row": (0, 1)}, "2 rows, 3 columns and 3 values"),
    ({"index": "f4"}, "its row has the shape (3,) and type float32"),
    ({"shape": (3, 4, 5)}, "its shape is"),
    ({"shape": (3, -4)}, "a size is -4"),
    ({"shape": (3, 2**40)}, "a size is 1099511627776"),
    ({"shape": (3, 4.0)}, "a size is 4.0"),
    ({"data": np.array([1, "a", None], object)}, "an array has the type 'O8', not numbers"),
    ({"data": ["a", "b", "c"]}, "an array has the type 'U1', not numbers"),
    ({"data": [1j, 1, 1]}, "an array has the type 'c16', not numbers"),
    ({"data": np.ones((3, 1))}, "its data has the shape (3, 1)"),
])
def test_matrices_that_break_their_own_rules(tmp_path, change, words):
    content = bytes_of("scipy.sparse._coo", "coo_matrix", coo_state(**change))
    message = complaint(tmp_path, content)
    assert words in message and "coo_matrix of numbers" in message


@pytest.mark.parametrize("indptr", [[0, 1, 1], [0, 1, 1, 4], [0, 2, 1, 3], [1, 1, 1, 3], [], [3]])
def test_pointers_that_do_not_divide_the_entries(tmp_path, indptr):
    state = {"_shape": (3, 4), "indptr": np.array(indptr, "i4"),
             "indices": np.array([1, 0, 3], "i4"), "data": np.ones(3)}
    content = bytes_of("scipy.sparse._csr", "csr_matrix", state)
    assert "index pointers do not divide 3 entries among 3" in complaint(tmp_path, content)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read.*Restore"):
        load_sparse(tmp_path / "trnMat.pkl")
