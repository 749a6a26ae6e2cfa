"""Sparse matrices out of pickle files, without running anything that the files ask for.

A pickle is a program that names functions to call. Here each name that scipy's matrices and numpy's
arrays need stands for a class of this file, which only keeps what it is given; any other name ends
the loading. The matrix is then built from checked numbers, so that neither scipy's nor numpy's own
unpickling code sees the file, and matrices of old scipy versions load as new ones do.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix

from recbole_ssr.errors import UserError

# Types of matrices in scipy, whose bytes are their whole value.
_NUMERIC = re.compile(r"b1|[iu][1248]|f[48]|[?bBhHiIlLqQfd]")
# Interactions keep ids as int32.
_MOST_IDS = 2**31 - 1
_REMEDY = "Save it again as a scipy.sparse.coo_matrix of numbers, or download it again."


def load_sparse(path: str | Path) -> coo_matrix:
    """Read a pickled scipy coo, csr or csc matrix or array, of pickle protocols 2 to 5.

    Returns the matrix as it is stored: duplicates and zeros are kept.

    Raises UserError for a file that asks for anything else, is no pickle or cut off, holds no such
    matrix, has an index outside of its shape, or values that are no finite numbers.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). Restore the file.") from error
    try:
        # Python 2 wrote bytes as str.
        parts = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(parts, _Sparse):
            raise _Damage(f"it holds a {type(parts).__name__.strip('_')}, no sparse matrix")
        return _matrix(parts)
    except _Refused as error:
        raise UserError(f"{path} was not loaded: it asks for {error}, which no coo, csr or csc "
                        f"matrix needs and which could run code. {_REMEDY}") from error
    except _Damage as error:
        raise UserError(f"{path} is no usable sparse matrix: {error}. {_REMEDY}") from error
    # Bytes that are no pickle can raise anything.
    except Exception as error:
        raise UserError(f"{path} is no pickle, cut off, or damaged "
                        f"({type(error).__name__}: {error}). {_REMEDY}") from error


class _Refused(Exception):
    """A name that is not admitted."""


class _Damage(Exception):
    """What is wrong with the numbers of a matrix."""


class _StandIn:
    """What a name in a pickle stands for.

    `__setstate__` is defined for all, as pickle would otherwise set attributes of its own choice.
    """

    state: object = None

    def __init__(self, *args):
        self.args = args

    def __setstate__(self, state):
        self.state = state


class _DType(_StandIn):
    """numpy.dtype(code, ...), whose state has the byte order second."""


class _Array(_StandIn):
    """numpy.ndarray: its state is version, shape, dtype, whether in Fortran order, bytes."""


class _Reconstruct(_StandIn):
    def __new__(cls, *_args):
        return _Array()


class _FromBuffer(_StandIn):
    def __new__(cls, raw, dtype, shape, order, *_axes):
        array = _Array()
        array.state = (1, shape, dtype, order == "F", raw)
        return array


class _Scalar(_StandIn):
    def __new__(cls, dtype, raw):
        return _FromBuffer(raw, dtype, (), "C")


class _Encode(_StandIn):
    """_codecs.encode, by which protocol 2 writes bytes."""

    def __new__(cls, text, _encoding):
        return str(text).encode("latin1")


class _NoBytes(_StandIn):
    """bytes(), by which protocol 2 writes empty bytes."""

    def __new__(cls):
        return b""


class _Sparse(_StandIn):
    format = ""


class _Coo(_Sparse):
    format = "coo"


class _Csr(_Sparse):
    format = "csr"


class _Csc(_Sparse):
    format = "csc"


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _Array, ("numpy", "dtype"): _DType, ("_codecs", "encode"): _Encode,
    **{(module, "bytes"): _NoBytes for module in ("builtins", "__builtin__")},
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED |= {(f"{_core}.multiarray", "_reconstruct"): _Reconstruct,
                  (f"{_core}.multiarray", "scalar"): _Scalar,
                  (f"{_core}.numeric", "_frombuffer"): _FromBuffer}
for _kind in (_Coo, _Csr, _Csc):
    # scipy renamed its modules in 1.8.
    _ADMITTED |= {(module, f"{_kind.format}_{suffix}"): _kind for suffix in ("matrix", "array")
                  for module in ("scipy.sparse", f"scipy.sparse.{_kind.format}",
                                 f"scipy.sparse._{_kind.format}")}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"{module}.{name}")
        return _ADMITTED[module, name]


def _matrix(parts: _Sparse) -> coo_matrix:
    state = parts.state
    if not isinstance(state, dict):
        raise _Damage("it has no content")
    shape = state.get("_shape")
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise _Damage(f"its shape is {shape!r:.60}, not rows x columns")
    shape = tuple(_whole(n) for n in shape)
    data = _numbers(state, "data", "biuf")
    if not np.isfinite(data).all():
        raise _Damage(f"value {int(np.argmin(np.isfinite(data)))} is no finite number")
    if parts.format == "coo":
        # scipy renamed row and col in 1.13.
        if "coords" in state:
            coords = state["coords"]
            if not isinstance(coords, tuple) or len(coords) != 2:
                raise _Damage("its coordinates are not those of rows and columns")
            state = {**state, "row": coords[0], "col": coords[1]}
        row, col = (_numbers(state, name, "iu") for name in ("row", "col"))
    else:
        row, col = _compressed(state, shape[parts.format == "csc"])
        if parts.format == "csc":
            row, col = col, row
    if not len(row) == len(col) == len(data):
        raise _Damage(f"it has {len(row):,} rows, {len(col):,} columns and {len(data):,} values")
    for name, index, size in (("row", row, shape[0]), ("column", col, shape[1])):
        outside = np.flatnonzero((index < 0) | (index >= size))
        if len(outside):
            raise _Damage(f"entry {outside[0]:,} is in {name} {index[outside[0]]} of a matrix of "
                          f"{shape[0]:,} x {shape[1]:,}")
    return coo_matrix((data, (row.astype(np.int64), col.astype(np.int64))), shape=shape)


def _compressed(state: dict, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the index along the compressed axis, of `size`, and along the other, per entry."""
    indptr, indices = (_numbers(state, name, "iu").astype(np.int64)
                       for name in ("indptr", "indices"))
    lengths = np.diff(indptr)
    if (len(indptr) != size + 1 or indptr[0] != 0 or (lengths < 0).any()
            or indptr[-1] != len(indices)):
        raise _Damage(f"its index pointers do not divide {len(indices):,} entries among {size:,}")
    return np.repeat(np.arange(size), lengths), indices


def _numbers(state: dict, name: str, kinds: str) -> np.ndarray:
    """Return the (n,) array of a state, of one of `kinds` as numpy names them."""
    array = state.get(name)
    if not isinstance(array, _Array):
        raise _Damage(f"its {name} is no array")
    values = _values(array)
    if values.ndim != 1 or values.dtype.kind not in kinds:
        raise _Damage(f"its {name} has the shape {values.shape} and type {values.dtype}")
    return values


def _values(array: _Array) -> np.ndarray:
    """Build the array that a pickle describes, in native byte order."""
    if not isinstance(array.state, tuple) or len(array.state) != 5:
        raise _Damage("an array has no content")
    _, shape, dtype, _, raw = array.state
    code = dtype.args[0] if isinstance(dtype, _DType) and dtype.args else None
    if not isinstance(code, str) or not _NUMERIC.fullmatch(code):
        raise _Damage(f"an array has the type {code!r:.60}, not numbers")
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "="
    if order not in ("<", ">", "=", "|") or not isinstance(shape, tuple):
        raise _Damage("an array has an unknown byte order or shape")
    kind = np.dtype(code).newbyteorder(order)
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    sizes = [_whole(n) for n in shape]
    if not isinstance(raw, (bytes, bytearray)) or len(raw) != math.prod(sizes) * kind.itemsize:
        raise _Damage(f"an array of shape {tuple(sizes)} has another number of bytes")
    return np.frombuffer(raw, kind).astype(kind.newbyteorder("=")).reshape(sizes)


def _whole(value: object) -> int:
    """Return a size: an int or numpy integer from 0 on."""
    if isinstance(value, _Array):
        scalar = _values(value)
        value = int(scalar) if scalar.ndim == 0 and scalar.dtype.kind in "iu" else None
    if type(value) is not int or not 0 <= value <= _MOST_IDS:
        raise _Damage(f"a size is {value!r:.60}, not a whole number up to {_MOST_IDS:,}")
    return value
