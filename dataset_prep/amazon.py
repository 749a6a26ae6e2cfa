"""Amazon reviews, releases of 2014 and 2023, from raw files to a prepared dataset.

Reviews or ratings -> distinct (user, item) pairs -> k-core -> split; the texts of the kept items
from the meta file; their image features from the binary file, or from a folder of pictures. The
order of steps and the texts follow the recipe of the published MMRec datasets.
"""

from __future__ import annotations

from pathlib import Path

from recbole_ssr.dataset_prep import steps
from recbole_ssr.dataset_prep.amazon_images import DIM, write_image_features
from recbole_ssr.dataset_prep.amazon_meta import read_texts
from recbole_ssr.dataset_prep.amazon_reviews import read_interactions
from recbole_ssr.dataset_prep.encoders import image_content, text_content
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.dataset_prep.prepared import Draft, source_of
from recbole_ssr.dataset_prep.raw_files import address, address_of, raw_files
from recbole_ssr.errors import UserError, nearest

MODALITIES = ("text", "image")


def prepare_amazon(options: Options) -> Path:
    """Prepare one category; return the dataset's folder.

    Raises UserError for files that cannot be had or read, and for counts that leave nothing.
    """
    modalities = list(MODALITIES) if options.modalities is None else options.modalities
    for modality in modalities:
        if modality not in MODALITIES:
            raise UserError(f"--modalities: Amazon has no {modality!r}, only "
                            f"{', '.join(MODALITIES)}.{nearest(modality, MODALITIES)}")
    if options.images and "image" not in modalities:
        modalities = [*modalities, "image"]
    with Draft(options.data_path, options.name, options.overwrite) as draft:
        urls = {"reviews": address(options.reviews_url, "reviews", options)}
        if "text" in modalities:
            urls["meta"] = address(options.meta_url, "meta", options)
        if "image" in modalities and not options.images:
            urls["images"] = address(options.images_url, "images", options)
        files = raw_files(urls, options)

        interactions = steps.filtered(read_interactions(files["reviews"]), options, draft)
        steps.compare_counts(interactions, options.expected, options.name)
        interactions = steps.split_into(draft, interactions, options, default="mmrec")
        tokens = list(interactions.item_tokens)
        if "text" in modalities:
            content = text_content(read_texts(files["meta"], tokens), options)
            steps.encode_into(draft, tokens, content, options)
        if options.images:
            steps.encode_into(draft, tokens, image_content(options.images, tokens, options),
                              options)
        elif "image" in modalities:
            missing = write_image_features(files["images"], draft.features, tokens)
            steps.record_features(draft, "image", DIM, len(missing), files["images"].name)
        draft.about["sources"] = [source_of(path, address_of(path)) for path in files.values()]
        return steps.finish(draft, interactions, options)
