"""Raw files of a recipe: where they lie, and fetching those that do not."""

from __future__ import annotations

import json
import logging
from itertools import combinations
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from recbole_ssr.dataset_prep.download import fetch
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")


def raw_files(wanted: dict[str, str], options: Options) -> dict[str, Path]:
    """Return the path of each raw file, `wanted` being its meaning -> its address.

    Files that lie in the raw folder under the last part of their address, packed or not, are
    taken; the others are fetched. Raises UserError, with addresses and places, where a file is not
    to be had, was fetched from another address, or would be two at once.
    """
    folder = Path(options.raw or Path(options.data_path, "raw", options.name))
    places = {what: _place(folder, url) for what, url in wanted.items()}
    for (one, url), (other, another) in combinations(wanted.items(), 2):
        if places[one] == places[other]:
            raise UserError(f"the {one} {url} and the {other} {another} would both be "
                            f"{places[one]}: one of the addresses is wrong, or names a file that "
                            "has to be fetched by hand under another name.")
    for what, path in places.items():
        if path.is_file() and address_of(path) not in (None, wanted[what]):
            raise UserError(f"{path} was fetched from {address_of(path)}, not from {wanted[what]}. "
                            "Delete it, or name another folder with --raw.")
    absent = {what: path for what, path in places.items() if not path.is_file()}
    if absent and options.no_download:
        raise UserError(f"{options.name} needs files that are not there, and --no-download forbids "
                        f"fetching them: {_list_of(absent, wanted)}")
    while absent:
        what, path = next(iter(absent.items()))
        logger.info("fetching the %s of %s: %s", what, options.name, wanted[what])
        try:
            fetch(wanted[what], path, f"the {what} of {options.name}",
                  show_progress=options.show_progress)
            _origin(path).write_text(json.dumps({"url": wanted[what]}), encoding="utf-8")
        except UserError as error:
            absent.pop(what)
            others = _list_of(absent, wanted)
            raise UserError(f"{error}" + (f". Still to come after it: {others}" if others else "")
                            ) from error
        absent.pop(what)
    return places


def address_of(path: Path) -> str | None:
    """Return where a raw file was fetched from, None where it was put there by hand."""
    try:
        return str(json.loads(_origin(path).read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _origin(path: Path) -> Path:
    return path.with_name(f"{path.name}.origin.json")


def address(template: str | None, what: str, options: Options) -> str:
    """Fill the category into an address. UserError for a missing or malformed one."""
    if not template:
        instead = "" if what == "reviews" else ", or leave the modality out with --modalities"
        raise UserError(f"{options.name} has no address of its {what}. Give --{what}_url=URL"
                        f"{instead}.")
    if "{category}" in template and not options.category:
        raise UserError(f"The address {template} needs a --category.")
    url = template.replace("{category}", options.category or "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not PurePosixPath(parts.path).name:
        raise UserError(f"--{what}_url={template!r} is no address of a file; it starts with "
                        "http:// or https:// and ends with a file name. Local files go into --raw.")
    return url


def _list_of(absent: dict[str, Path], wanted: dict[str, str]) -> str:
    return "; ".join(f"the {what}, get {wanted[what]} and put it at {path}"
                     for what, path in absent.items())


def _place(folder: Path, url: str) -> Path:
    name = unquote(PurePosixPath(urlsplit(url).path).name)
    packed, plain = folder / name, folder / name.removesuffix(".gz")
    return plain if plain.is_file() and not packed.is_file() else packed
