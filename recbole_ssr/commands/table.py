"""Every command of `recbole-ssr`: what it is for, its usage and its own options.

From here come `--help`, the check of options where a command takes no settings of a run, and the
list of commands that an unknown word gets. Options are written as in :mod:`recbole_ssr.option`.
"""

from __future__ import annotations

from typing import NamedTuple

from recbole_ssr.compare.comparison_options import ComparisonOptions
from recbole_ssr.option import meanings

_SETTINGS = ("Any setting of a run is an option as well, --KEY=VALUE, its value YAML. They are "
             "listed by recbole-ssr models SSR, and with --all those of every model too.")
_ONLY = "There are no other options: the run's own settings hold."


class Command(NamedTuple):
    """A command.

    Attributes:
        summary: what it does, in a line without a full stop.
        group: heading below which the list of commands has it.
        usage: what follows its name, a form each.
        options: as they are typed -> what they mean; empty where another table has them.
        notes: paragraphs below the options.
        function: "module:name" of what runs it, which takes the words and a console.
    """

    summary: str
    group: str
    usage: tuple[str, ...]
    options: dict[str, str]
    notes: tuple[str, ...]
    function: str

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the options, as :mod:`recbole_ssr.flags` reads them."""
        return tuple(key.partition("=")[0].replace("-", "_") for key in self.options)


_TRAIN, _DATA, _RUNS, _HERE = "Train", "Data", "Finished runs", "What there is"
_OF_RUN = {
    "device=auto": "auto, cpu, cuda or cuda:N",
    "data_path=FOLDER": "the folder of datasets, where they have moved since the run",
}
_RANKED = {
    "new-items=FOLDER": "features of items that the run has never seen, to rank too",
    "popularity-discount=0.3": "room for rare items (SSR); default the run's own",
}

COMMANDS: dict[str, Command] = {
    "train": Command(
        "train a model, select its epoch on validation, test once", _TRAIN,
        ("[--model=NAME] [--dataset=NAME] [--KEY=VALUE ...]", "--resume[=runs/<your run>]"),
        {
            "model=SSR": "a model of this package, or a model of RecBole: see recbole-ssr models",
            "dataset=ml-100k": "a folder below --data_path, see recbole-ssr datasets; Amazon's are "
                               "downloaded and prepared where they are missing",
            "profile=tiktok": "tuned settings of the model, where it has a profile of this name",
            "config_files=FILE": "settings in yaml files, several in a row; later files win",
            "resume": "go on with the newest run in --run_dir that was interrupted, or with "
                      "--resume=runs/<your run>; with --data_path where its data have moved",
            "data_path=dataset": "the folder of datasets",
            "run_dir=runs": "receives a folder for every run",
            "device=auto": "auto, cpu, cuda or cuda:N",
            "seed=2020": "seed of parameters, batches and negatives; it never moves the split",
            "epochs=300": "at most so many; it stops earlier after --stopping_step without gain",
            "topk=\"[10, 20]\"": "cut-offs of the metrics",
            "valid_metric=Recall@20": "what selects the epoch, on validation",
            "show_progress=False": "no bars, and no line per epoch where there is no terminal",
            "no-download": "take raw files of a dataset that are there, download none; other "
                           "options of recbole-ssr prepare are taken as well",
        },
        ("recbole-ssr train --model=LightGCN --device=cpu --topk=\"[5, 20]\"",
         "recbole-ssr train --config_files my.yaml --n_bands 4", _SETTINGS),
        "recbole_ssr.commands.train:train"),
    "compare": Command(
        "train several models under one protocol; tables, tests, one HTML report", _TRAIN,
        ("--models=NAME,NAME,... [--seeds=N] [--jobs=N] [--KEY=VALUE ...]",),
        meanings(ComparisonOptions),
        ("The same command goes on where it was stopped, and does only what is missing.",
         _SETTINGS),
        "recbole_ssr.commands.train:compare"),
    "tune": Command(
        "search a model's settings on validation", _TRAIN,
        ("--model=NAME [--trials=20] [--KEY=VALUE ...]",
         "--models=NAME,NAME,... [--trials=20] [--KEY=VALUE ...]"),
        {
            "model=SSR": "the model to tune",
            "models=SSR,FREEDOM": "or several, one after the other with the same budget",
            "trials=20": "settings that are tried per model",
            **meanings(ComparisonOptions, "sampler", "pruner", "space", "storage", "jobs",
                       "threads", "engine", "address", "cpus", "gpus"),
            "seed=2020": "seed of the search and of its runs",
            **meanings(ComparisonOptions, "preset", "out"),
        },
        ("What it selects is left as a preset: train with --config_files FILE, or compare with "
         "--preset=FILE. The same command goes on where it was stopped.", _SETTINGS),
        "recbole_ssr.commands.train:tune"),
    "prepare": Command(
        "make a dataset: from public files, a published folder or your own data", _DATA,
        ("NAME [--KEY=VALUE ...]", "--from=LAYOUT PATH --name=NAME",
         "--interactions=FILE [--items=FILE] [--images=FOLDER] --name=NAME",
         "--like=DATASET --items=FILE [--images=FOLDER] --out=FOLDER"),
        {}, (), "recbole_ssr.commands.data:prepare"),
    "data": Command(
        "report on a dataset as a run sees it", _DATA,
        ("[NAME] [--out=FOLDER] [--KEY=VALUE ...]",),
        {
            "out=FOLDER": "receives dataset.json and dataset.png; default the dataset's own folder",
            "data_path=dataset": "the folder of datasets",
            "modalities=\"[text]\"": "which features to look at; default all that are there",
        },
        ("Sizes, degrees, split, cold users and items, leaks between parts, coverage and norms of "
         "the modalities, and what is wrong. Without NAME: the embedded ml-100k.", _SETTINGS),
        "recbole_ssr.commands.data:data"),
    "datasets": Command(
        "list the datasets that are here, and those that one command makes", _DATA,
        ("[--data_path=FOLDER]",),
        {"data_path=dataset": "the folder of datasets"},
        ("Sizes are those of the files: settings of a run may filter them.",),
        "recbole_ssr.commands.datasets:datasets"),
    "evaluate": Command(
        "measure a run again: other metrics, other cut-offs, features made worse", _RUNS,
        ("RUN_FOLDER [--topk=\"[5, 50]\"] [--metrics=\"[Recall, MRR]\"] [--part=valid]",),
        {
            "topk=\"[5, 50]\"": "cut-offs; default the run's own",
            "metrics=\"[Recall, MRR]\"": "metrics of RecBole, such as Precision, Hit, MAP, "
                                         "ItemCoverage or GiniIndex; default the run's own",
            "part=valid": "valid or test alone; default both",
            "popularity-discount=0.3": "room for rare items (SSR); default the run's own",
            "drop-modality=image": "without the features of a modality, or of several",
            "feature-missing=\"{text: 0.5}\"": "with a share of the items without features",
            "feature-noise=\"{text: 0.5}\"": "with noise of so many times a row's norm",
            "out=FILE": "receives the figures as .json",
            **_OF_RUN,
        },
        ("Nothing is trained: the parameters are those that the run selected. The split, and what "
         "is ranked, stay too. Choose by the validation part alone.",
         "recbole-ssr evaluate runs/<your run> --topk=\"[1, 5, 10, 50]\" --part=valid", _ONLY),
        "recbole_ssr.commands.evaluate:evaluate"),
    "diagnose": Command(
        "show what an SSR run does with its bands and modalities", _RUNS,
        ("RUN_FOLDER [--part=valid] [--out=FOLDER]",),
        {
            "part=valid": "the part to evaluate on: valid or test",
            "out=FOLDER": "receives diagnosis.json and plots; default the run folder",
            **_OF_RUN,
        },
        ("Where the energy of the bands lies, how they are mixed and gated, what each is worth, "
         "and which claims of the paper hold here.", "recbole-ssr diagnose runs/<your run>", _ONLY),
        "recbole_ssr.commands.diagnose:diagnose"),
    "recommend": Command(
        "rank items for users, known and new", _RUNS,
        ("RUN_FOLDER --users=U,U | --users=FILE | --history=FILE [--topk=20]",
         "RUN_FOLDER --all --out=FILE"),
        {
            "users=196,22": "users by their tokens, or a file with one a line",
            "all": "every user of the run, into --out",
            "history=FILE": "users by their items, new ones too: a table of users and items (.csv, "
                            ".tsv, .parquet) or lines {\"user\": ..., \"items\": [...]} (.jsonl)",
            "topk=20": "items per user",
            "out=FILE": ".csv, .jsonl or .parquet; default a table on the terminal",
            "keep-seen": "rank what a user has in training and validation, too",
            "hide-test": "leave out what a user has in test, too",
            "candidates=FILE": "rank these items alone, one a line, or --candidates=50,181",
            "where=\"{class: Comedy}\"": "rank items with such a field alone",
            "unknown=popularity": "answer users of whom nothing is known by what is popular",
            **_RANKED, **_OF_RUN,
        },
        ("recbole-ssr recommend runs/<your run> --users=196,22 --topk=10", _ONLY),
        "recbole_ssr.commands.serve:recommend"),
    "export": Command(
        "write embeddings whose inner products are the scores", _RUNS,
        ("RUN_FOLDER --out=FOLDER [--format=npy] [--index=flat,hnsw]",),
        {
            "out=FOLDER": "receives users, items, their tokens and export.json",
            "format=npy": "npy or parquet",
            "index=flat,hnsw": "indices for FAISS as well (extra ann); their recall is printed",
            **_RANKED, **_OF_RUN,
        },
        ("recbole-ssr export runs/<your run> --out=embeddings", _ONLY),
        "recbole_ssr.commands.serve:export"),
    "explain": Command(
        "take a score apart: by the user's items, bands and modalities", _RUNS,
        ("RUN_FOLDER --user=U --item=I [--plot] [--out=FOLDER]",),
        {
            "user=196": "the user, by its token",
            "item=50": "the item, by its token",
            "plot": "draw it, into the run folder or --out",
            "out=FOLDER": "receives explanation-<user>-<item>.json and .png",
            **_RANKED, **_OF_RUN,
        },
        ("recbole-ssr explain runs/<your run> --user=196 --item=15 --plot", _ONLY),
        "recbole_ssr.commands.serve:explain"),
    "browse": Command(
        "look at a run in a web page on this machine", _RUNS,
        ("RUN_FOLDER [--port=8765]",),
        {"port=8765": "the page is http://127.0.0.1:8765; 0 takes any port that is free",
         **_RANKED, **_OF_RUN},
        ("History and recommendations of a user, SSR's bands and modalities to move, and why an "
         "item is there.", "recbole-ssr browse runs/<your run>", _ONLY),
        "recbole_ssr.commands.serve:browse"),
    "models": Command(
        "list the models, or the settings of one", _HERE,
        ("[NAME] [--profile=PROFILE] [--all]",),
        {
            "profile=tiktok": "the defaults of a profile of the model",
            "all": "without NAME, RecBole's models too; with it, the settings that all models have",
        },
        ("With NAME, a model's settings: default, type, range and meaning of each.",),
        "recbole_ssr.commands.models:models"),
    "runs": Command(
        "list the runs, the newest first", _HERE,
        ("[FOLDER] [--all]",),
        {"all": "all of them, not the newest alone"},
        ("FOLDER is where runs lie, default runs: the --run_dir of their training. The metric is "
         "the one that selected the epoch. An unfinished run goes on with",
         "recbole-ssr train --resume=runs/<your run>"),
        "recbole_ssr.commands.runs:runs"),
}
