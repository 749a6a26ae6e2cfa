"""Preparation of datasets: raw files in, `.inter`, split and item features out.

The command is `recbole-ssr prepare`. From Python::

    from recbole_ssr.dataset_prep.options import options_of, recipe_of
    from recbole_ssr.dataset_prep.prepare import prepare

    prepare(options_of({"split": "leave-one-out"}, recipe_of("amazon-sports")))
    prepare(options_of({"source": "mmrec", "path": "downloads/tiktok", "name": "tiktok"}))

Every step is a module of its own: readers (`amazon_reviews`, `mmrec`, `own_tables`, ...), `kcore`,
`splits`, encoders (`text_encoder`, `image_encoder`, `tfidf`), and `prepared`, which writes a
dataset whole or not at all.
"""
