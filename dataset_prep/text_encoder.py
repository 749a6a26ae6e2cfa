"""Texts into vectors by a sentence-transformers model, with TF-IDF as the offline fallback.

Default model: all-MiniLM-L6-v2, 384 dimensions, which the field's published text features come from
(Reimers and Gurevych, Sentence-BERT, 2019).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.cache import content_key
from recbole_ssr.dataset_prep.encode import Encoder, text_digest
from recbole_ssr.dataset_prep.pretrained import (
    Unavailable,
    files_digest,
    missing_library,
    model_folder,
    resolve_device,
    versions,
)
from recbole_ssr.dataset_prep.tfidf import TfidfEncoder

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_REMEDY = ("Download it on a machine with access and pass the folder, "
           "--text_encoder=FOLDER, or use --text_encoder=tfidf, which needs no model.")

logger = logging.getLogger("recbole_ssr")


class SentenceEncoder:
    """The vectors of a sentence-transformers model, with the model's own truncation and scaling."""

    def __init__(self, model: str, folder: Path, device: str):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise missing_library("sentence_transformers", error) from error
        try:
            self._model = SentenceTransformer(str(folder), device=device)
        except Exception as error:  # whatever a damaged or foreign folder makes the library raise
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise Unavailable(f"The model {model!r} in {folder} cannot be loaded ({reason}). "
                              f"{_REMEDY}") from error
        self.name = f"sentence-transformers {Path(model).name}"
        self.key = content_key("text", files_digest(folder),
                               versions("sentence-transformers", "transformers"))
        self.dim: int | None = None

    def encode(self, batch: list[str]) -> np.ndarray:
        """Return (b, dim) float32."""
        # The tokeniser refuses lone surrogates, which JSON can hold.
        texts = [text.encode("utf-8", "replace").decode("utf-8") for text in batch]
        rows = self._model.encode(texts, batch_size=len(texts), show_progress_bar=False,
                                  convert_to_numpy=True)
        self.dim = rows.shape[1]
        return rows.astype(np.float32)

    def digest(self, content: str) -> bytes:
        """Return the sha256 of the text."""
        return text_digest(content)


def text_encoder(model: str = DEFAULT_MODEL, device: str = "auto") -> SentenceEncoder:
    """Return the encoder of a sentence-transformers model, given by name or folder.

    Raises UserError: Unavailable if library or model cannot be had, another for a wrong device.
    """
    device = resolve_device(device)
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise missing_library("sentence_transformers", error) from error
    # As in the library, a bare name is that of one of its own models.
    if "/" not in model and not Path(model).is_dir():
        model = f"sentence-transformers/{model}"
    return SentenceEncoder(model, model_folder(model, "modules.json", _REMEDY), device)


def default_text_encoder(texts: Sequence[str | None], device: str = "auto") -> Encoder:
    """Return the encoder of the default model or, where that cannot be had, TF-IDF of `texts`.

    The fallback is said aloud as a warning. Raises UserError for a wrong device.
    """
    try:
        return text_encoder(DEFAULT_MODEL, device)
    except Unavailable as error:
        logger.warning(
            "The text encoder %s is not available: %s\nTexts are encoded by TF-IDF and SVD "
            "instead. Accuracy differs from that of the model, and from published results. Ask for "
            "it by --text_encoder=tfidf to have it without this warning.", DEFAULT_MODEL, error,
        )
    return TfidfEncoder().fit(texts)
