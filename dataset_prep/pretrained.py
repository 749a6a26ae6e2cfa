"""Pretrained models for the encoders: their files, found or fetched once, and where they run."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import torch

from recbole_ssr.dataset_prep.prepared import sha256_of
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Copies of the weights for other libraries, and files that no library reads.
_UNREAD = ("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "*.tflite", "*.mlmodel", "*.md",
           "*.png", "*.jpg", "onnx/*", "openvino/*", "coreml/*", "train_script.py", ".*")
# Seconds that a hub may take to answer at all.
_TIMEOUT = 10


class Unavailable(UserError):
    """A model or its library cannot be had here, whereas another way may be open."""


def missing_library(package: str, error: ImportError) -> Unavailable:
    """Return the error for an absent optional library."""
    return Unavailable(f"The package {package} cannot be imported ({error}). Install it: "
                       "pip install recbole_ssr[encode]")


def model_folder(model: str, marker: str, remedy: str) -> Path:
    """Return the folder with a model's files: `model` itself, the hub's cache, or a download.

    Args:
        model: a folder, or a name on the Hugging Face hub.
        marker: file that a whole model has; without it the cache is not trusted.
        remedy: ends the message of the error.

    A hub that does not answer costs one attempt of 10 s, whereas the libraries would repeat it for
    every file. Raises Unavailable.
    """
    if model and os.path.isdir(os.path.expanduser(model)):
        return Path(os.path.expanduser(model))
    if not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)?", model) or model.startswith("."):
        raise Unavailable(f"The model {model!r} is neither a folder nor a name on the hub. "
                          f"{remedy}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing_library("huggingface_hub", error) from error
    try:
        folder = Path(snapshot_download(model, local_files_only=True))
        if (folder / marker).is_file() and _has_weights(folder):
            return folder
    except Exception as error:  # the hub's library has no common base of its errors
        logger.debug("%s is not in the hub's cache (%s)", model, error)
    try:
        return _download(model)
    except Exception as error:  # as above
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Unavailable(f"The model {model!r} is not on this machine and could not be "
                          f"downloaded ({reason}). {remedy}") from error


def files_digest(folder: Path) -> str:
    """Return a sha256 (hex) of names and contents of the files that make up a model."""
    digest = hashlib.sha256()
    for name in _model_files(folder):
        digest.update(f"{name} {sha256_of(folder / name)}\n".encode())
    return digest.hexdigest()


def versions(*packages: str) -> list[str]:
    """Return the installed versions of packages."""
    return [f"{package} {version(package)}" for package in packages]


def resolve_device(device: str) -> str:
    """Return the device that ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` names; UserError if none."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", str(device)):
        raise UserError(f"device is {device!r}. Use auto, cpu, cuda or cuda:N.")
    count = torch.cuda.device_count()
    if device != "cpu" and int(device.partition(":")[2] or 0) >= count:
        raise UserError(f"device is {device!r}, but PyTorch sees {count} GPUs. Use auto or cpu.")
    return device


def _download(model: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    about = HfApi().model_info(model, timeout=_TIMEOUT)
    names = [file.rfilename for file in about.siblings]
    # Many models have their weights in both formats.
    twice = ["*.bin"] if any(name.endswith(".safetensors") for name in names) else []
    logger.info("downloading the model %s", model)
    return Path(snapshot_download(model, revision=about.sha, etag_timeout=_TIMEOUT,
                                  ignore_patterns=[*_UNREAD, *twice]))


def _has_weights(folder: Path) -> bool:
    return any(name.endswith((".safetensors", ".bin")) for name in _model_files(folder))


def _model_files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(fnmatch(name, pattern) for pattern in _UNREAD):
            yield name
