"""The embedded data set: RecBole's ml-100k with a fixed split and two modalities, made offline.

RecBole's wheel carries ml-100k with film titles, genres and a knowledge graph. From these come a
split column and the modalities ``text`` and ``kg``, once per machine, into a cache folder.

``kg`` says nothing about the films: the item ids of RecBole's .link file are not those of its .item
file (item 50, Star Wars, has the graph of a crime mystery), so that films near each other in ``kg``
share genres no more often than chance. It is a modality of pure noise with missing items, good for
checking that a model withstands one; judge accuracy with ``modalities: [text]``.
"""

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import uuid
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_ssr.cache import cache_folder
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError

SPLIT_COLUMN = "x_label"
MODALITIES = ("kg", "text")

# Part of the cache key: raise it whenever this file makes other data from the same sources.
_BUILDER_VERSION = 1
_SOURCES = tuple(f"ml-100k.{suffix}" for suffix in ("inter", "item", "kg", "link", "user"))
_FILES = _SOURCES + tuple(
    f"features/{modality}.{suffix}" for modality in MODALITIES for suffix in ("npy", "tokens")
)
_DIGEST = "digest"  # beside the folder: of all its files, so that none is used that has changed
_SPLIT_SEED = 2020
_SVD_SEED = 2020
# Width of both modalities: well below the number of films, as is usual for encoded content.
_DIM = 64
_DECIMALS = 5

logger = logging.getLogger("recbole_ssr")


def ensure_ml_100k(cache_dir: str | Path | None = None) -> Path:
    """Return a folder with the atomic files and ``features/``; build it if it is not there yet.

    The same sources and library versions give the same bytes. Raises UserError if the cache folder
    cannot be written, or RecBole's copy of ml-100k is missing.
    """
    source = _source_folder()
    cache = cache_folder(cache_dir)
    home = cache / f"ml-100k-{_cache_key(source)}"
    if not _is_complete(home):
        logger.info(f"Building the embedded ml-100k in {home} (once, a few seconds)")
        try:
            _build_beside(source, home)
        except OSError as error:
            raise UserError(
                f"The cache folder {cache} cannot be written ({error}). Set the environment "
                "variable RECBOLE_SSR_CACHE, or cache_dir, to a folder that can."
            ) from error
    return home / "ml-100k"


def split_labels(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return 0 train, 1 valid or 2 test per row: a random tenth of each user's items per held part.

    `users` and `items` are (n_rows,) integers. A user's labels depend on his own items only, not on
    the order of the rows. Users of fewer than three items are all train.

    >>> np.bincount(split_labels(np.zeros(10, int), np.arange(10)))
    array([8, 1, 1])
    """
    labels = np.zeros(len(users), dtype=np.int64)
    order = np.lexsort((items, users))
    starts = np.flatnonzero(np.diff(users[order], prepend=users[order[:1]] - 1))
    for rows in np.split(order, starts[1:]):
        held = max(1, len(rows) // 10) if len(rows) >= 3 else 0
        generator = np.random.default_rng([_SPLIT_SEED, int(users[rows[0]])])
        shuffled = generator.permutation(rows)
        labels[shuffled[:held]] = 2
        labels[shuffled[held : 2 * held]] = 1
    return labels


def _source_folder() -> Path:
    # Looked up, not imported: recbole's own quick start imports ray, which takes seconds or fails.
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The package recbole is not installed: pip install recbole")
    folder = Path(spec.submodule_search_locations[0], "dataset_example", "ml-100k")
    missing = [name for name in _SOURCES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"RecBole's ml-100k in {folder} lacks {', '.join(missing)}. Install RecBole again: "
            f"pip install --force-reinstall --no-deps recbole=={version('recbole')}"
        )
    return folder


def _cache_key(source: Path) -> str:
    key = hashlib.sha256()
    versions = [version(name) for name in ("numpy", "scipy", "scikit-learn")]
    key.update(f"{_BUILDER_VERSION} {versions}".encode())
    for name in _SOURCES:
        key.update(hashlib.sha256((source / name).read_bytes()).digest())
    return key.hexdigest()[:12]


def _is_complete(home: Path) -> bool:
    """Tell whether all files are there, each as it was when the folder was built."""
    try:
        return (home / _DIGEST).read_text() == _digest(home)
    except OSError:
        return False


def _digest(home: Path) -> str:
    digest = hashlib.sha256()
    for name in _FILES:
        digest.update(hashlib.sha256((home / "ml-100k" / name).read_bytes()).digest())
    return digest.hexdigest()


def _seal(home: Path) -> None:
    (home / _DIGEST).write_text(_digest(home))


def _build_beside(source: Path, home: Path) -> None:
    """Build in a folder next to `home`, then move it there; a faster builder's result stays."""
    draft = home.with_name(f".{home.name}-{uuid.uuid4().hex}")
    try:
        _build(source, draft / "ml-100k")
        _seal(draft)
        if home.exists() and not _is_complete(home):
            shutil.rmtree(home)
        try:
            os.replace(draft, home)
        except OSError:
            if not _is_complete(home):
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _build(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in _SOURCES:
        shutil.copyfile(source / name, folder / name)
    _add_split_column(folder / "ml-100k.inter")
    films = _read_table(source / "ml-100k.item")
    tokens = films["item_id"].tolist()
    write_features(folder / "features", "text", _embed(_film_words(films)), tokens)

    links = _read_table(source / "ml-100k.link")
    neighbours = _neighbourhoods(_read_table(source / "ml-100k.kg"))
    entity_of = dict(zip(links["item_id"], links["entity_id"]))
    linked = [token for token in tokens if neighbours.get(entity_of.get(token))]
    matrix = _embed([neighbours[entity_of[token]] for token in linked], min_df=2)
    # A film that shares no neighbour with another film has nothing to say: honestly absent.
    known = matrix.any(axis=1)
    write_features(folder / "features", "kg", matrix[known], np.array(linked)[known])


def _add_split_column(inter: Path) -> None:
    table = _read_table(inter)
    labels = split_labels(*(table[name].to_numpy(np.int64) for name in ("user_id", "item_id")))
    head, *lines = inter.read_text(encoding="utf-8").splitlines()
    lines = [f"{line}\t{label}" for line, label in zip(lines, labels)]
    text = "\n".join([f"{head}\t{SPLIT_COLUMN}:float", *lines])
    inter.write_bytes(f"{text}\n".encode())


def _read_table(path: Path) -> pd.DataFrame:
    """Read an atomic file as text, its columns named without their types."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, quoting=3)
    return table.rename(columns=lambda column: column.partition(":")[0])


def _film_words(films: pd.DataFrame) -> list[list[str]]:
    """Return the words of each film; the prefixes keep years and genres apart from title words."""
    documents = []
    for title, year, genres in zip(films["movie_title"], films["release_year"], films["class"]):
        words = re.findall(r"\w+", title.lower())
        words += [f"year:{year}", f"decade:{year[:3]}"] if year.isdigit() else []
        documents.append(words + [f"genre:{genre}" for genre in genres.split()])
    return documents


def _neighbourhoods(triples: pd.DataFrame) -> dict[str, list[str]]:
    """Return each entity's "relation|other entity" tokens, over its edges of both directions."""
    neighbours: dict[str, list[str]] = {}
    for head, relation, tail in zip(*(triples[f"{x}_id"] for x in ("head", "relation", "tail"))):
        neighbours.setdefault(head, []).append(f"{relation}|{tail}")
        neighbours.setdefault(tail, []).append(f"{relation}|{head}")
    return neighbours


def _embed(documents: list[list[str]], min_df: int = 1) -> np.ndarray:
    """Return float32 embeddings (n_documents, 64): tf-idf, then a truncated SVD."""
    # Imported here because sklearn is slow to import and needed once per machine.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    tfidf = TfidfVectorizer(analyzer=lambda words: words, min_df=min_df, sublinear_tf=True)
    svd = TruncatedSVD(_DIM, algorithm="arpack", random_state=_SVD_SEED)
    matrix = svd.fit_transform(tfidf.fit_transform(documents))
    # The last bits depend on the processor and on the number of threads; these decimals do not.
    return np.round(matrix, _DECIMALS).astype(np.float32)
