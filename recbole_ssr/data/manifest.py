"""What a prepared dataset says of itself: `manifest.json` beside its files."""

from __future__ import annotations

import json
from pathlib import Path

from recbole_ssr.errors import UserError

MANIFEST = "manifest.json"


def read_manifest(folder: str | Path) -> dict | None:
    """Return the manifest of a prepared dataset; None where the folder has none.

    Raises UserError for a manifest that cannot be read.
    """
    path = Path(folder, MANIFEST)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Prepare the dataset again with "
                        "--overwrite.") from error
    if not _is_of_preparation(manifest):
        raise UserError(f"{path} is no manifest of a prepared dataset. Prepare it again with "
                        "--overwrite, or move the file away.")
    return manifest


def _is_of_preparation(manifest: object) -> bool:
    """Tell whether a manifest has what readers count on; other programs call files so, too."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        return False
    entries = manifest["files"].values()
    return all(isinstance(manifest.get(key), str) for key in ("made_at", "made_by")) and all(
        isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys() for entry in entries)


def check_split(folder: str | Path, name: str | None, fingerprint: str, sizes: list[int]) -> None:
    """Raise UserError where a split goes by the name of the prepared one, and is another.

    Args:
        name: what results call the split.
        fingerprint: sha256 (hex) of the split at hand.
        sizes: its interactions in train, valid and test.
    """
    manifest = read_manifest(folder) if name else None
    prepared = manifest.get("split") if manifest else None
    if not isinstance(prepared, dict) or prepared.get("title") != name:
        return
    if prepared.get("sha256") in (None, fingerprint):
        return
    was = [manifest.get(part) for part in ("train", "valid", "test")]
    raise UserError(
        f"The split at hand (hash {fingerprint[:12]}; {', '.join(map(str, sizes))} interactions in "
        f"train, valid and test) is not the one of {Path(folder, MANIFEST)} "
        f"({str(prepared['sha256'])[:12]}; {', '.join(map(str, was))}), but goes by its name, "
        f"{name!r}. Undo filters and changes of the files, prepare the dataset again, or, if the "
        "change is meant, give it a split_name of its own."
    )
