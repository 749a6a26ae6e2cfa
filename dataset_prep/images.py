"""Picture files of items: which belongs to whom, and their pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# In order of preference, where an item has several.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
# A picture longer than this many times its width is a line or a stripe; resizing one so that its
# short side fits a model would take gigabytes.
_MAX_RATIO = 100
_WHITE = (255, 255, 255, 255)


class ImageProblem(Exception):
    """A file holds no usable picture; the message says why."""


def find_images(folder: str | Path, tokens: Sequence[str]) -> dict[str, Path]:
    """Return the file of each token that has one: <token>.png, .jpg, .jpeg, .webp, .bmp or .gif.

    Suffixes may be upper case. Tokens with characters that a file name cannot hold are found
    percent-encoded (``a/b`` as ``a%2Fb.jpg``). Of several files of a token the first in the order
    above counts, with a warning. Raises UserError if there is no folder, or no file matches.
    """
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        names = [entry.name for entry in entries if entry.is_file()]
    except OSError as error:
        raise UserError(f"The folder of pictures {folder} cannot be read ({error.strerror}). "
                        "Correct --images.") from error
    by_stem: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in SUFFIXES:
            by_stem.setdefault(stem, []).append(name)
    for stem in list(by_stem):
        if "%" in stem:
            by_stem.setdefault(unquote(stem), by_stem[stem])
    pictures = {token: sorted(by_stem[token], key=_preference)
             for token in tokens if token in by_stem}
    if not pictures:
        folders = [entry.name for entry in entries if entry.is_dir()]
        raise UserError(
            f"No picture in {folder} belongs to an item: it has {names[:3]}"
            f"{f' and the folders {folders[:3]}, which are not looked into' if folders else ''}, "
            f"the items are {[str(token) for token in tokens[:3]]}. Name pictures <item>.jpg (or "
            f"{', '.join(suffix[1:] for suffix in SUFFIXES)}){_of_slash(tokens)}, all in one "
            "folder."
        )
    several = [files for files in pictures.values() if len(files) > 1]
    if several:
        logger.warning("%s items have several pictures in %s, for instance %s; the first counts",
                       f"{len(several):,}", folder, several[0])
    return {token: Path(folder, files[0]) for token, files in pictures.items()}


def _of_slash(tokens: Sequence[str]) -> str:
    """Return how the picture of an item with a slash in its id is named; "" where there is none."""
    token = next((token for token in map(str, tokens) if "/" in token), None)
    if token is None:
        return ""
    name = token.replace("%", "%25").replace("/", "%2F")
    return f", with %2F for a slash as in {name}.jpg"


def open_rgb(path: str | Path):
    """Return a picture as a PIL image of mode RGB, upright.

    Of an animation the first frame counts. Transparent parts become white, grey levels of 16 bits
    are scaled to 8. Raises ImageProblem for whatever is no picture, cut off, beyond PIL's limit of
    pixels, or extremely long.
    """
    from PIL import Image, ImageOps

    try:
        if os.path.getsize(path) == 0:
            raise ImageProblem(f"{path} is empty")
        with Image.open(path) as image:
            _check_ratio(path, *image.size)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), path)
    except ImageProblem:
        raise
    except Image.DecompressionBombError as error:
        raise ImageProblem(f"{path} has too many pixels ({error})") from error
    except Exception as error:  # PIL's decoders raise whatever their parsers meet
        raise ImageProblem(f"{path} cannot be read as a picture ({error})") from error


def _preference(name: str) -> tuple[int, str]:
    return SUFFIXES.index(os.path.splitext(name)[1].lower()), name


def _check_ratio(path: str | Path, width: int, height: int) -> None:
    if max(width, height) > _MAX_RATIO * min(width, height):
        raise ImageProblem(f"{path} is {width} x {height} pixels, which is a stripe, no picture")


def _to_rgb(image, path: str | Path):
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        # Modes I hold 16 bits of PNG and TIFF; converting them to RGB would clip at 255.
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ImageProblem(f"{path} has grey levels of more than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ImageProblem(f"{path} has floating-point pixels")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, _WHITE)
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
