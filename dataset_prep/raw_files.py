"""Raw files of a recipe: where they lie, and fetching those that do not."""

from __future__ import annotations

import logging
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
    to be had.
    """
    folder = Path(options.raw or Path(options.data_path, "raw", options.name))
    places = {what: _place(folder, url) for what, url in wanted.items()}
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
        except UserError as error:
            absent.pop(what)
            others = _list_of(absent, wanted)
            raise UserError(f"{error}" + (f". Still to come after it: {others}" if others else "")
                            ) from error
        absent.pop(what)
    return places


def address(template: str | None, what: str, options: Options) -> str:
    """Fill the category into an address. UserError for a missing or malformed one."""
    if not template:
        raise UserError(f"{options.name} has no address of its {what}. Give --{what}_url=URL, or "
                        "leave the modality out with --modalities.")
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
