"""Text features without a language model: TF-IDF weights and a truncated SVD (LSA).

Deerwester et al., Indexing by latent semantic analysis, 1990. The dimensions are those of greatest
variance in one corpus, so that vectors of different corpora do not compare. What was fitted is
therefore kept beside the features of a dataset, for texts of items to come.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from recbole_ssr.cache import content_key
from recbole_ssr.dataset_prep.encode import BrokenContents, text_digest
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Width of all-MiniLM-L6-v2, which this stands in for.
MAX_DIM = 384
# The commonest words of a large corpus; rarer ones hardly weigh and cost memory.
_MAX_WORDS = 2**16
_SEED = 2020
# The last bits depend on the processor and on the number of threads; these decimals do not.
_DECIMALS = 5
# Directions below this share of the first singular value are rounding noise.
_NOISE = 1e-6
# Raise it whenever this file makes other vectors of the same texts.
_VERSION = 1
# Scripts written without blanks between words, whose characters mean something by themselves:
# Japanese kana, Chinese characters, and their extensions.
_CHARACTERS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"


class TfidfEncoder:
    """Vectors of unit length from the words of a text; `fit` must see all texts first."""

    name = "TF-IDF and SVD"

    def __init__(self, max_dim: int = MAX_DIM):
        self._max_dim = max_dim
        self.key, self.dim = "", None

    def fit(self, texts: Sequence[str | None]) -> TfidfEncoder:
        """Learn words and directions from all texts; None and blank ones do not count.

        dim becomes the number of directions, at most `max_dim`, that texts and words allow. Equal
        texts count once. Raises UserError if no text has a word.
        """
        # Sorted, so that neither key nor result depends on the order of items.
        texts = sorted({text for text in texts if text and text.strip()})
        words = self._vectorizer()
        try:
            counts = words.fit_transform(texts)
        except ValueError as error:
            raise UserError(
                f"None of {len(texts):,} texts has a word, for instance {texts[:3]}. Choose other "
                "text columns, or leave the text out."
            ) from error
        self._words, self._directions = words, _directions(counts, self._max_dim)
        self.dim = self._directions.shape[1]
        if self.dim < self._max_dim:
            logger.info("TF-IDF: %s texts with %s words allow %d dimensions, not %d",
                        f"{counts.shape[0]:,}", f"{counts.shape[1]:,}", self.dim, self._max_dim)
        corpus = hashlib.sha256(b"".join(text_digest(text) for text in texts)).hexdigest()
        versions = [version(name) for name in ("numpy", "scipy", "scikit-learn")]
        self.key = content_key("tfidf", _VERSION, versions, unicodedata.unidata_version,
                               self._max_dim, corpus)
        return self

    def encode(self, batch: list[str]) -> np.ndarray:
        """Return (b, dim) float32 rows of length 1, rounded to 5 decimals.

        Raises BrokenContents for texts none of whose words count.
        """
        rows = np.asarray(self._words.transform(batch) @ self._directions)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        empty = np.flatnonzero(norms[:, 0] <= _NOISE)
        if len(empty):
            raise BrokenContents({int(i): f"the text {batch[i][:40]!r} shares no word with others"
                                  for i in empty})
        return np.round(rows / norms, _DECIMALS).astype(np.float32)

    def digest(self, content: str) -> bytes:
        """Return the sha256 of the text."""
        return text_digest(content)

    def save(self, path: str | Path) -> None:
        """Write what was fitted: words (JSON), their weights and the directions, as .npz."""
        words = sorted(self._words.vocabulary_, key=self._words.vocabulary_.get)
        text = json.dumps(words, ensure_ascii=False).encode("utf-8", "surrogatepass")
        np.savez(path, version=_VERSION, key=self.key, words=np.frombuffer(text, dtype=np.uint8),
                 weights=self._words.idf_, directions=self._directions.astype(np.float32))

    @classmethod
    def load(cls, path: str | Path) -> TfidfEncoder:
        """Return the encoder that `save` wrote; its vectors differ by the rounding of float32.

        Raises UserError for a file that cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                stored = {name: file[name] for name in file.files}
            words = json.loads(stored["words"].tobytes().decode("utf-8", "surrogatepass"))
            if stored["version"] != _VERSION or len(words) != len(stored["directions"]):
                raise ValueError("it is of another version of this package")
            encoder = cls(stored["directions"].shape[1])
            encoder._words = cls._vectorizer(words)
            encoder._words.idf_ = stored["weights"]
        except Exception as error:  # whatever a damaged file makes numpy raise
            raise UserError(f"{path} cannot be read ({error}). Prepare the dataset again with "
                            "--overwrite.") from error
        encoder._directions, encoder.dim = stored["directions"], encoder._max_dim
        encoder.key = content_key("tfidf", "stored", str(stored["key"]))
        return encoder

    @staticmethod
    def _vectorizer(words: Sequence[str] | None = None):
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(analyzer=split_words, sublinear_tf=True, max_features=_MAX_WORDS,
                               vocabulary=words)


def split_words(text: str) -> list[str]:
    """Return the words of a text in any language, in lower case.

    A word is a run of letters, digits and combining marks; in scripts without blanks between words,
    each character is one.

    >>> split_words("Star Wars: 3 x été, 日本")
    ['star', 'wars', '3', 'x', 'été', '日', '本']
    """
    return _word_pattern().findall(unicodedata.normalize("NFKC", text).lower())


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern:
    # Python's \w lacks the combining marks that spell vowels in Indic scripts.
    marks = [c for c in map(chr, range(0x300, 0x1E950)) if unicodedata.category(c)[0] == "M"]
    return re.compile(rf"[{_CHARACTERS}]|(?:(?![{_CHARACTERS}])[\w{''.join(marks)}])+")


def _directions(weights, max_dim: int) -> np.ndarray:
    """Return (n_words, dim) right singular vectors of `weights` (n_texts, n_words), sparse."""
    if min(weights.shape) <= max_dim:
        return _all_directions(weights)
    from sklearn.decomposition import TruncatedSVD

    svd = TruncatedSVD(max_dim, algorithm="randomized", n_iter=5, random_state=_SEED).fit(weights)
    return svd.components_[svd.singular_values_ > _NOISE * svd.singular_values_[0]].T


def _all_directions(weights) -> np.ndarray:
    """As _directions, with all that there are, by the smaller of the two Gram matrices."""
    fewer_texts = weights.shape[0] < weights.shape[1]
    gram = (weights @ weights.T if fewer_texts else weights.T @ weights).toarray()
    squares, vectors = np.linalg.eigh(gram)
    strong = np.flatnonzero(squares > _NOISE**2 * squares[-1])[::-1]
    directions = vectors[:, strong]
    if fewer_texts:
        directions = weights.T @ directions / np.sqrt(squares[strong])
    # The sign of an eigenvector is the library's choice: make the largest entry positive.
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(len(strong))]
    return directions * np.sign(largest)
