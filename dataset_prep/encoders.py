"""Which encoder an option names, and the content that it encodes."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ssr.dataset_prep.image_encoder import image_encoder
from recbole_ssr.dataset_prep.images import find_images
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.dataset_prep.steps import Content
from recbole_ssr.dataset_prep.text_encoder import default_text_encoder, text_encoder
from recbole_ssr.dataset_prep.tfidf import TfidfEncoder


def text_content(texts: list[str], options: Options) -> Content:
    """Pair the items' texts with the encoder of ``text_encoder``.

    ``auto`` is the field's all-MiniLM-L6-v2, or TF-IDF where that cannot be had, said aloud.
    """
    choice = options.text_encoder or "auto"
    if not any(text and text.strip() for text in texts):
        return Content("text", texts, None)  # which is said where they would be encoded
    if choice == "auto":
        encoder = default_text_encoder(texts, options.device)
    elif choice == "tfidf":
        encoder = TfidfEncoder().fit(texts)
    else:
        encoder = text_encoder(choice, options.device)
    return Content("text", texts, encoder)


def image_content(folder: str, tokens: Sequence[str], options: Options) -> Content:
    """Pair the items' pictures in `folder` with the encoder of ``image_encoder``."""
    pictures = find_images(folder, tokens)
    encoder = (image_encoder(options.image_encoder, options.device) if options.image_encoder
               else image_encoder(device=options.device))
    return Content("image", [pictures.get(token) for token in tokens], encoder)
