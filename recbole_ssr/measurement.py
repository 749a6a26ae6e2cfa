"""Finished runs, measured once more with features made worse: one training serves all levels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from recbole_ssr import quick_start
from recbole_ssr.corruption import DEFAULTS, Corruption
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.evaluation.rankings import Ranking
from recbole_ssr.inference import inference_model
from recbole_ssr.settings import checked, settings_of


class Measurement(NamedTuple):
    """What a run measures under a corruption of its features at inference.

    Attributes:
        valid, test: metrics by name. The parameters are those that validation selected in the run.
        rankings: valid and test, where all items are ranked.
        corruption: what was done, as plain values; None where nothing was.
    """

    valid: dict[str, float]
    test: dict[str, float]
    rankings: dict[str, Ranking]
    corruption: dict | None


def measure_corrupted(folder: str | Path, settings: Mapping | None = None,
                      device: str = "auto", data_path: str | Path | None = None) -> Measurement:
    """Measure the run of a folder with corrupted features; nothing is trained or written.

    Args:
        folder: of a finished run.
        settings: feature_noise, feature_missing, drop_modality, corruption_seed, corruption_at; a
            seed that is not given is that of the run. None stands for the run's own settings.
        device: auto, cpu, cuda or cuda:N.
        data_path: the folder of datasets, where they have moved since the run.

    Raises:
        UserError: the folder, a setting or a modality's name cannot be used.
    """
    unknown = set(settings or ()).difference(DEFAULTS)
    if unknown:
        name = min(unknown)
        raise UserError(f"{name!r} is no setting of a corruption.{nearest(name, DEFAULTS)} There "
                        f"are {', '.join(DEFAULTS)}.")
    settings = None if settings is None else checked(settings, settings_of())
    experiment = quick_start.load_run(folder, device, "training", data_path)
    config = experiment.config
    # Without a run folder RecBole opens one for TensorBoard in the current directory.
    config["run_folder"] = config["checkpoint_dir"] = str(folder)
    seed = {"corruption_seed": config["corruption_seed"]}
    corruption = Corruption.of(config if settings is None else seed | settings,
                               stage="inference")
    model = inference_model(experiment, experiment.model, corruption)
    trainer = quick_start.trainer_of(experiment._replace(model=model))
    trainer.eval_collector.data_collect(experiment.train)
    metrics, rankings = {}, {}
    for part in ("valid", "test"):
        metrics[part], ranking = quick_start.evaluated(trainer, getattr(experiment, part),
                                                       load_best_model=False)
        if ranking is not None:
            rankings[part] = ranking
    return Measurement(metrics["valid"], metrics["test"], rankings, corruption.facts())
