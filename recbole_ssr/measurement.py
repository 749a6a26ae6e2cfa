"""Finished runs, evaluated once more: by other metrics and cut-offs, or with features made worse.

One training serves all of them. What was trained and selected stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recbole_ssr import quick_start, runs
from recbole_ssr.corruption import DEFAULTS, Corruption
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.eval_settings import of_a_kind
from recbole_ssr.evaluation.rankings import Ranking
from recbole_ssr.experiment import Experiment, protocol_of
from recbole_ssr.flags import read_config_file
from recbole_ssr.inference import inference_model, set_discount
from recbole_ssr.run_folders import CONFIG
from recbole_ssr.settings import checked, settings_of

PARTS = ("valid", "test")


class Measurement(NamedTuple):
    """What a run measures. The parameters are those that validation selected in it.

    Attributes:
        valid, test: metrics by name; none of a part that was not asked for.
        rankings: valid and test, where all items are ranked.
        corruption: what was done to the features at inference, as plain values; None for nothing,
            as where the model loads none.
        experiment: what was evaluated, its settings as they were for it.
    """

    valid: dict[str, float]
    test: dict[str, float]
    rankings: dict[str, Ranking]
    corruption: dict | None
    experiment: Experiment

    def facts(self) -> dict:
        """Return the record of it, in plain values; of the parts those that were evaluated."""
        config, model = self.experiment.config, self.experiment.model
        return {
            "run": str(config["run_folder"]), "model": config["model"],
            "dataset": config["dataset"], "seed": config["seed"],
            "popularity_discount": getattr(model, "popularity_discount", None),
            "corruption": self.corruption,
            "protocol": {key: value for key, value in protocol_of(self.experiment).items()
                         if key not in ("corruption", "valid_metric")},
            **{part: getattr(self, part) for part in PARTS if getattr(self, part)},
        }


def evaluate(folder: str | Path, corruption: Mapping | None = None, *,
             metrics: Sequence[str] | str | None = None, topk: Sequence[int] | int | None = None,
             popularity_discount: float | None = None, part: str | None = None,
             device: str = "auto", data_path: str | Path | None = None) -> Measurement:
    """Evaluate a finished run again; nothing is trained or written.

    Args:
        folder: of the run.
        corruption: feature_noise, feature_missing, drop_modality, corruption_seed; a seed that is
            not given is that of the run. Features are made worse at inference alone, and {} leaves
            them as the files have them. None stands for the run's own settings.
        metrics, topk: names of RecBole's metrics, and cut-offs; None for those of the run.
        popularity_discount: in place of SSR's setting of this name.
        part: valid or test alone; None for both. Whoever chooses by these figures takes valid.
        device: auto, cpu, cuda or cuda:N.
        data_path: the folder of datasets, where they have moved since the run.

    Raises:
        UserError: the folder, a setting, a part or a modality's name cannot be used.
    """
    _check_names(corruption or {}, part)
    corruption = None if corruption is None else checked(corruption, settings_of())
    folder = runs.existing(folder)
    changes = _changes(folder, metrics, topk)
    experiment = quick_start.load_run(folder, device, "training", data_path, changes)
    if popularity_discount is not None:
        set_discount(experiment, popularity_discount)
    config = experiment.config
    # Without a run folder RecBole opens one for TensorBoard in the current directory.
    config["run_folder"] = config["checkpoint_dir"] = str(folder)
    seed = {"corruption_seed": config["corruption_seed"]}
    asked = Corruption.of(config if corruption is None else seed | corruption, stage="inference")
    trainer = quick_start.trainer_of(
        experiment._replace(model=inference_model(experiment, experiment.model, asked)))
    trainer.eval_collector.data_collect(experiment.train)
    found, rankings = {}, {}
    for name in PARTS if part is None else (part,):
        found[name], ranking = quick_start.evaluated(trainer, getattr(experiment, name),
                                                     load_best_model=False)
        if ranking is not None:
            rankings[name] = ranking
    reached = isinstance(experiment.train._dataset, MultimodalDataset)
    return Measurement(found.get("valid", {}), found.get("test", {}), rankings,
                       asked.facts() if reached else None, experiment)


def _check_names(corruption: Mapping, part: str | None) -> None:
    for name in sorted(set(corruption).difference(DEFAULTS)):
        raise UserError(f"{name!r} is no setting of a corruption.{nearest(name, DEFAULTS)} There "
                        f"are {', '.join(DEFAULTS)}.")
    if part not in (None, *PARTS):
        raise UserError(f"part={part!r} must be valid or test.{nearest(str(part), PARTS)}")


def _changes(folder: Path, metrics: object, topk: object) -> dict:
    """Return the settings of the run that other metrics or cut-offs change."""
    changes = {key: value for key, value in (("metrics", metrics), ("topk", topk))
               if value is not None}
    if not changes:
        return {}
    of_run = read_config_file(folder / CONFIG)
    return changes | of_a_kind(*(changes.get(key, of_run.get(key)) for key in ("metrics", "topk")))
