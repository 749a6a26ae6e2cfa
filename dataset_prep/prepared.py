"""A prepared dataset: its folder, its manifest, and how it comes into being whole or not at all.

```
<data_path>/<name>/<name>.inter            user_id:token item_id:token [rating timestamp] x_label
<data_path>/<name>/<name>.item             item_id:token and what a table says of items, if any
<data_path>/<name>/<name>.yaml             settings of every run on it
<data_path>/<name>/features/<modality>.*   item features; .tfidf.npz, what TF-IDF was fitted to
<data_path>/<name>/manifest.json           sizes and hashes of all files, sources, recipe, split
```
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import socket
import uuid
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

import recbole_ssr
from recbole_ssr.data.ids import flaw_of_id
from recbole_ssr.data.manifest import MANIFEST, read_manifest
from recbole_ssr.data.split_hash import split_hash
from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

PARTS = ("train", "valid", "test")
# A folder of datasets may be shared by machines, whose processes have the same numbers.
_HOST = re.sub(r"\W+", "_", socket.gethostname())
_CHUNK = 16 * 2**20
# What `recbole-ssr data` leaves beside a dataset; it is of the one that is replaced.
_REPORT = (Path("dataset.json"), Path("dataset.png"))


class Draft:
    """A dataset in the making; a context manager whose `finish` moves it to its place.

    Everything is written into a hidden folder beside the place. Whatever ends the block before
    `finish` leaves no trace, and an existing dataset of the name stays as it was until then. Of the
    dataset that `overwrite` replaces, whatever its manifest does not list is kept, and its
    settings, where they were edited, as <name>.yaml.old.

    Raises UserError for a name that is no file name, a folder that is in the way (unless
    `overwrite`, and it is a prepared dataset), and a place that cannot be written.
    """

    def __init__(self, data_path: str | Path, name: str, overwrite: bool = False):
        if not re.fullmatch(r"[A-Za-z0-9][\w.\-]*", name):
            raise UserError(f"The dataset name {name!r} is no file name. Use letters, digits, '_', "
                            "'-' and '.', and start with a letter or digit.")
        self.name, self.place = name, Path(os.path.expanduser(data_path), name)
        self.folder = self.place.with_name(
            f".{name}-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.draft")
        self.about: dict[str, object] = {}
        self._overwrite = overwrite
        if self.place.exists():
            self._check_prepared()
            if not overwrite:
                raise UserError(f"{self.place} exists. Choose another --name, or replace it with "
                                "--overwrite.")

    def __enter__(self) -> Draft:
        self._new_parents = [path for path in self.folder.parents if not path.exists()]
        try:
            self.folder.mkdir(parents=True)
            for draft in self.folder.parent.glob(f".{self.name}-*.draft"):
                if _is_abandoned(draft):
                    shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise UserError(f"{self.folder.parent} cannot be written ({error}). Choose another "
                            "--data_path.") from error
        return self

    def __exit__(self, kind, error, trace) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self._new_parents:  # innermost first; none that holds something is removed
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError) and not isinstance(error, UserError):
            raise UserError(f"{self.place} could not be prepared ({error}). Check the disk's space "
                            "and permissions; nothing half-made was left.") from error

    @property
    def features(self) -> Path:
        """The folder that receives the item features."""
        return self.folder / "features"

    def add_interactions(self, interactions: Interactions) -> None:
        """Write the .inter file; the labels of the split must be set."""
        columns = {"user_id:token": interactions.user_tokens[interactions.users],
                   "item_id:token": interactions.item_tokens[interactions.items]}
        for name, values in (("rating", interactions.ratings),
                             ("timestamp", interactions.timestamps),
                             ("x_label", interactions.labels)):
            if values is not None:
                columns[f"{name}:float"] = _exact(values)
        _check_tokens(interactions)
        pd.DataFrame(columns).to_csv(self.folder / f"{self.name}.inter", sep="\t", index=False,
                                     quoting=3, lineterminator="\n")
        counts = np.bincount(interactions.labels, minlength=3).tolist()
        self.about |= {"users": interactions.n_users, "items": interactions.n_items,
                       "interactions": len(interactions), **dict(zip(PARTS, counts))}

    def finish(self, settings: dict[str, tuple[object, str]]) -> Path:
        """Write settings, key -> (value, comment), and manifest; move the folder; return it."""
        (self.folder / f"{self.name}.yaml").write_text(_yaml(self.name, settings),
                                                       encoding="utf-8")
        files = {str(path.relative_to(self.folder)): {"bytes": path.stat().st_size,
                                                      "sha256": sha256_of(path)}
                 for path in sorted(self.folder.rglob("*")) if path.is_file()}
        manifest = {"name": self.name, **self.about, "files": files,
                    "made_by": f"recbole_ssr {recbole_ssr.__version__}",
                    "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        self._move()
        return self.place

    def _move(self) -> None:
        old, foreign = self.folder.with_suffix(".old"), []
        if self.place.exists():
            if not self._overwrite:
                raise UserError(f"{self.place} was made by another process in the meantime.")
            self._check_prepared()
            foreign = self._foreign()
        try:
            if self.place.exists():
                os.replace(self.place, old)
            os.replace(self.folder, self.place)
        except BaseException:
            if old.exists() and not self.place.exists():
                os.replace(old, self.place)
            raise
        edited = self._edited(old)
        try:
            for path in foreign:
                (self.place / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(old / path, self.place / path)
            if edited:
                os.replace(old / edited, self.place / f"{edited}.old")
        except OSError as error:
            raise UserError(f"{self.place} is replaced, but what is no part of a dataset could not "
                            f"be kept in it ({error}). Move it there from {old}.") from error
        if edited:
            logger.warning("%s had been edited: it is kept as %s.old, and has no effect there",
                           self.place / edited, edited)
        if foreign:
            logger.info("kept in %s: %s", self.place, ", ".join(map(str, foreign)))
        shutil.rmtree(old, ignore_errors=True)

    def _edited(self, folder: Path) -> str | None:
        """Return the name of the settings where they are no longer as they were made."""
        name = f"{self.name}.yaml"
        with contextlib.suppress(UserError, OSError):
            made = (read_manifest(folder) or {}).get("files", {}).get(name)
            if made and sha256_of(folder / name) != made["sha256"]:
                return name
        return None

    def _check_prepared(self) -> None:
        if not (self.place / MANIFEST).is_file():
            raise UserError(f"{self.place} exists and is no prepared dataset, as it has no "
                            f"{MANIFEST}: --overwrite does not replace it. Choose another --name, "
                            "or move it away.")

    def _foreign(self) -> list[Path]:
        """Return what the dataset in the place has beside its own files, folders as a whole.

        Raises UserError where the draft has a file of that name.
        """
        try:
            own = set(map(Path, read_manifest(self.place)["files"]))
        except UserError:  # damaged, which --overwrite is to mend
            own = {Path(f"{self.name}.inter"), Path(f"{self.name}.yaml"),
                   *(path.relative_to(self.place) for path in self.place.glob("features/*")
                     if path.suffix in (".npy", ".tokens", ".missing", ".npz"))}
        own |= {Path(MANIFEST), *_REPORT}
        shared = {folder for path in own for folder in path.parents}
        found, folders = [], [self.place]
        for folder in folders:
            for entry in sorted(folder.iterdir()):
                path = entry.relative_to(self.place)
                is_folder = entry.is_dir() and not entry.is_symlink()
                if is_folder and (path in shared or (self.folder / path).is_dir()):
                    folders.append(entry)
                elif path not in own:
                    found.append(path)
        taken = [str(path) for path in found if os.path.lexists(self.folder / path)]
        if taken:
            raise UserError(f"{self.place} has {', '.join(taken)}, which its {MANIFEST} does not "
                            "list and the new dataset would replace. Move it away.")
        return found


def damaged_files(folder: str | Path, manifest: dict) -> list[str]:
    """Return what differs from the manifest, one line a file; empty where all is as it was made."""
    damaged = []
    for name, wanted in manifest["files"].items():
        path = Path(folder, name)
        if not path.is_file():
            damaged.append(f"{name} is missing")
        elif path.stat().st_size != wanted["bytes"]:
            damaged.append(f"{name} has {path.stat().st_size:,} bytes, not {wanted['bytes']:,}")
        elif sha256_of(path) != wanted["sha256"]:
            damaged.append(f"{name} has other contents")
    return damaged


def sha256_of(path: str | Path) -> str:
    """Return the sha256 (hex) of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def source_of(path: str | Path, url: str | None = None) -> dict[str, object]:
    """Describe a raw file for the manifest: name, size, hash and where it came from."""
    path = Path(path)
    about = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return about | ({"url": url} if url else {})


def split_hash_of(interactions: Interactions) -> str:
    """Return the hash of the split, equal to the split_fingerprint of a run's results."""
    rows = [interactions.labels == label for label in range(len(PARTS))]
    return split_hash([interactions.users[part] for part in rows],
                      [interactions.items[part] for part in rows],
                      interactions.user_tokens, interactions.item_tokens)


def _is_abandoned(draft: Path) -> bool:
    """Tell whether the process that wrote a draft was killed, if it was one of this machine."""
    writer = re.search(r"-(\w+)-(\d+)-\w+\.draft$", draft.name)
    if writer is None or writer[1] != _HOST:
        return False
    try:
        os.kill(int(writer[2]), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError, OverflowError):
        return False
    return False


def _check_tokens(interactions: Interactions) -> None:
    for kind, tokens in (("user", interactions.user_tokens), ("item", interactions.item_tokens)):
        for token in tokens:
            flaw = flaw_of_id(token)
            if flaw:
                raise UserError(f"An id of a {kind} {flaw}. Rename it in the source.")
            if token != token.strip() or any(c in token for c in '\t\n\r"'):
                raise UserError(f"The {kind} id {token!r} has quotes, tabs, line breaks or outer "
                                "blanks, which an .inter file cannot hold. Rename it.")


def _exact(values: np.ndarray) -> np.ndarray:
    """Return (n,) numbers so that their text has all digits: integers as they are, else as text."""
    if values.dtype.kind == "i":
        return values
    distinct, which = np.unique(values, return_inverse=True)
    texts = [np.format_float_positional(value, trim="-") for value in distinct]
    return np.array(texts, dtype=object)[which]


def _yaml(name: str, settings: dict[str, tuple[object, str]]) -> str:
    lines = [f"# Settings of every run on {name}, as it was prepared. Config files and flags win."]
    for key, (value, comment) in settings.items():
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
        lines.append(f"{key}: {text.splitlines()[0]}  # {comment}")
    return "\n".join(lines) + "\n"
