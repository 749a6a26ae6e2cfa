"""Checkpoint files that hold data only, so that loading one can never run code.

A state is reduced to plain types (:func:`to_plain`), written beside its destination and moved into
place, and read back with the unpickler of torch that builds nothing but tensors and containers.
Arrays, sparse matrices and devices travel as tagged dicts, ``{TAG: kind, ...}``. A digest
(:mod:`recbole_ssr.seal`) tells whether a file is still what was written.
"""

import contextlib
import errno
import os
import pickle
import shutil
import uuid
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp
import torch

from recbole_ssr import seal
from recbole_ssr.errors import UserError

TAG = "__recbole_ssr__"

_SCALARS = (str, int, float, bool, type(None))
# Kinds of dtype whose bytes are their whole value; "O" and "V" could hide objects.
_ARRAY_KINDS = "biufcmMSU"
# What the constructor of each sparse format takes; the other formats go through coo.
_SPARSE_PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
    "dia": ("data", "offsets"),
}
_FREE = "free some space"
_NO_ROOM = {errno.ENOSPC: ("disk full", _FREE), errno.EDQUOT: ("disk full", _FREE),
            errno.EFBIG: ("file too large", "raise the limit on the size of files (ulimit -f)")}
_NO_ACCESS = {errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOENT, errno.ENOTDIR}


def to_plain(obj: Any, path: str = "state") -> Any:
    """Return `obj` made of dict, list, tuple, str, int, float, bool, None and torch.Tensor only.

    numpy scalars become Python scalars, subclasses of dict become dict and parameters become
    tensors; arrays, sparse matrices and devices are tagged for :func:`from_plain`. Tensors are
    shared with `obj`, not copied. `path` names `obj` in messages.

    Raises:
        TypeError: a value of another type; the message names its key path and type.
    """
    if type(obj) in _SCALARS:
        return obj
    if isinstance(obj, torch.Tensor):
        return obj.detach()
    # Before dict, because dok matrices are dicts too.
    if sp.issparse(obj):
        return _plain_sparse(obj)
    if isinstance(obj, dict):
        return _plain_dict(obj, path)
    if type(obj) is list:
        return [to_plain(value, f"{path}[{i}]") for i, value in enumerate(obj)]
    if type(obj) in (tuple, torch.Size):
        return tuple(to_plain(value, f"{path}[{i}]") for i, value in enumerate(obj))
    if isinstance(obj, np.generic) and isinstance(obj.item(), _SCALARS):
        return obj.item()
    if isinstance(obj, np.ndarray) and obj.dtype.kind in _ARRAY_KINDS:
        return _plain_array(obj)
    if isinstance(obj, torch.device):
        return {TAG: "device", "name": str(obj)}
    detail = f" of dtype {obj.dtype}" if isinstance(obj, np.ndarray) else ""
    raise TypeError(
        f"{path} is a {type(obj).__module__}.{type(obj).__qualname__}{detail}, which a checkpoint "
        "cannot hold: store tensors, arrays, numbers, strings or containers of these instead."
    )


def _plain_dict(obj: dict, path: str) -> dict:
    if TAG in obj:
        raise TypeError(f"{path} has the key {TAG!r}, which is reserved: rename that key.")
    plain = {}
    for key, value in obj.items():
        key = to_plain(key, f"{path} key {key!r}")
        plain[key] = to_plain(value, f"{path}[{key!r}]")
    return plain


def _plain_array(array: np.ndarray) -> dict:
    # Raw bytes keep every dtype exactly, also those that torch does not know (str, datetime).
    # A copy where needed: torch warns about memory that it must not write.
    flat = np.require(array, requirements=["C", "W"]).reshape(-1).view(np.ndarray)
    if flat.size == 1:
        # numpy calls a lone element contiguous whatever its stride; torch refuses negative ones.
        flat = flat.copy()
    raw = torch.from_numpy(flat.view(np.uint8)) if flat.nbytes else torch.zeros(0).byte()
    return {
        TAG: "array",
        "dtype": array.dtype.str,
        "shape": tuple(array.shape),
        "matrix": isinstance(array, np.matrix),
        "bytes": raw,
    }


def _plain_sparse(matrix: Any) -> dict:
    if matrix.format not in _SPARSE_PARTS:
        kept, matrix = matrix.format, matrix.tocoo()
    else:
        kept = matrix.format
    return {
        TAG: "sparse",
        "format": kept,
        "array": type(matrix).__name__.endswith("_array"),
        "shape": tuple(int(n) for n in matrix.shape),
        "parts": {n: _plain_array(getattr(matrix, n)) for n in _SPARSE_PARTS[matrix.format]},
    }


def from_plain(obj: Any) -> Any:
    """Undo :func:`to_plain`. Values without tags are returned as they are, containers anew.

    Raises:
        ValueError: a tag is unknown or its content does not fit together.
    """
    if isinstance(obj, dict):
        if TAG not in obj:
            return {from_plain(key): from_plain(value) for key, value in obj.items()}
        return _decode(obj)
    if isinstance(obj, list):
        return [from_plain(value) for value in obj]
    if type(obj) is tuple:
        return tuple(from_plain(value) for value in obj)
    return obj


def _decode(tagged: dict) -> Any:
    kind = tagged[TAG]
    if kind == "array":
        return _decode_array(tagged)
    if kind == "sparse":
        return _decode_sparse(tagged)
    if kind == "device":
        return torch.device(tagged["name"])
    raise ValueError(f"unknown tag {kind!r} in a checkpoint: it was written by a newer version.")


def _decode_array(tagged: dict) -> np.ndarray:
    dtype = np.dtype(tagged["dtype"])
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"a checkpoint holds an array of dtype {dtype}, which is not plain data.")
    # The bytes may have been mapped to a GPU along with the rest of the file.
    array = tagged["bytes"].cpu().numpy().view(dtype).reshape(tagged["shape"])
    return np.asmatrix(array) if tagged["matrix"] else array


def _decode_sparse(tagged: dict) -> Any:
    parts = {name: _decode_array(part) for name, part in tagged["parts"].items()}
    stored = tagged["format"] if tagged["format"] in _SPARSE_PARTS else "coo"
    first, *rest = (parts[name] for name in _SPARSE_PARTS[stored])
    if stored == "coo":
        content = (first, tuple(rest))
    else:
        content = (first, *rest)
    build = getattr(sp, f"{stored}_{'array' if tagged['array'] else 'matrix'}")
    matrix = build(content, shape=tagged["shape"])
    if stored in ("csr", "csc", "bsr"):
        # Compiled routines trust these indices: a wrong one would read foreign memory.
        matrix.check_format(full_check=True)
    return matrix.asformat(tagged["format"])


def save(state: dict, path: str | os.PathLike) -> None:
    """Write `state` to `path`; an existing file is replaced whole or not at all.

    Raises:
        TypeError: `state` holds something that is not data; see :func:`to_plain`.
        UserError: the disk is full, the file is larger than the system lets files become, or the
            folder is missing or not writable.
    """
    path = Path(path)
    plain = to_plain(state)
    # In the same folder, because a file can only be moved atomically within one file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            sealed = seal.SealedFile(file)
            torch.save(plain, sealed)
            sealed.seal()
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise _writing_error(error, path) from error
    finally:
        # Nothing is left there after a success, and nothing was created in a missing folder.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _writing_error(error: BaseException, path: Path) -> BaseException:
    """Return the UserError that explains `error`, or `error` itself where there is none."""
    cause = error
    # torch's writer closes its archive after a failed write and hides the reason behind that.
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _NO_ROOM:
        free, (what, remedy) = shutil.disk_usage(path.parent).free, _NO_ROOM[number]
        return UserError(
            f"{what} while writing the checkpoint {path} ({free:,} bytes free): {remedy} or choose "
            "another folder. An earlier checkpoint of that name is unharmed."
        )
    if number in _NO_ACCESS:
        return UserError(
            f"cannot write a checkpoint in the folder {path.parent} ({cause.strerror}): create it, "
            "make it writable, or choose another folder."
        )
    return error


def load(path: str | os.PathLike, map_location: Any = "cpu") -> dict:
    """Return the state that :func:`save` wrote, its tensors on `map_location`.

    Raises:
        UserError: the file is missing, damaged, not a checkpoint, or holds pickled code.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            detail = seal.damage(file)
            if detail is not None and seal.is_archive(file):
                raise _damage(path, detail)
            file.seek(0)
            return _read(file, path, map_location, detail)
    except OSError as error:
        raise UserError(
            f"cannot read the checkpoint {path} ({error.strerror or error}): check the path and "
            "its permissions."
        ) from error


def _read(file: BinaryIO, path: Path, map_location: Any, detail: str | None) -> dict:
    """Read a file, or say what is in it where it is no archive, which `detail` then says."""
    try:
        state = from_plain(torch.load(file, map_location=map_location, weights_only=True))
    except pickle.UnpicklingError as error:
        raise _refusal(error, path) from error
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    # A damaged archive fails anywhere in the reader: KeyError, EOFError, UnicodeDecodeError ...
    except Exception as error:
        raise _damage(path, detail or f"{type(error).__name__}: {error}") from error
    if detail is not None:
        raise _damage(path, detail)
    if not isinstance(state, dict):
        raise _damage(path, f"it holds a {type(state).__name__} instead of a dict")
    return state


def _refusal(error: pickle.UnpicklingError, path: Path) -> UserError:
    # torch says "Unsupported global/operand" for everything but data, and otherwise "invalid ...".
    if "unsupported" not in str(error).lower():
        return _damage(path, "its content is not a pickled state")
    return UserError(
        f"the checkpoint {path} was refused: it holds pickled Python objects, and loading it could "
        "run code. Stock RecBole writes such files; train again, with recbole_ssr imported, to get "
        "a checkpoint that holds data only."
    )


def _damage(path: Path, detail: str) -> UserError:
    return UserError(
        f"the checkpoint {path} is damaged or no checkpoint ({path.stat().st_size:,} bytes; "
        f"{detail.splitlines()[0][:200]}): copy or train it again."
    )
