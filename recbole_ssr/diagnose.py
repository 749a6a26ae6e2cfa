"""What a finished SSR run does with its bands: `recbole-ssr diagnose <run folder>`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr import runs
from recbole_ssr.corruption import Corruption
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.evaluation.user_metrics import Hits, values_at
from recbole_ssr.files import expanded
from recbole_ssr.model.ssr import SSR
from recbole_ssr.model.ssr_reference import ReferenceSSR
from recbole_ssr.nodes import Nodes
from recbole_ssr.quick_start import Experiment, load_run, trainer_of
from recbole_ssr.report.diagnosis import claims
from recbole_ssr.report.diagnosis.record import (
    FILE,
    Ablation,
    ActivityGroup,
    Agreement,
    Diagnosis,
    Mixing,
    Spectrum,
    Stability,
    Variant,
    band_names,
)
from recbole_ssr.report.record import write_record
from recbole_ssr.result import RunResult
from recbole_ssr.spectral import diagnosis as spectral
from recbole_ssr.spectral.bands import response

PARTS = ("valid", "test")
COLD = 5  # training interactions of a cold-start user at most, the paper's definition
# Groups of users by training interactions: at most 5, 10, 20, and more.
_ACTIVITY = (COLD, 10, 20)
_DROPPED, _DROP_SEED = 0.2, 0  # interactions to lose for the stability of bands
_EIGENVALUES, _INTERVALS = 401, 50  # to draw filters, and energy as a histogram


class Slots(NamedTuple):
    """Bands of all users and items. Shapes: user (M, C, U, d), item (M, C, I, d)."""

    user: Tensor
    item: Tensor

    def signal(self, modality: int) -> Nodes:
        """Return the signal of a modality, the sum of its bands: (U, d), (I, d)."""
        return tuple(side[:, modality].sum(0) for side in self)


def diagnose(
    folder: str | Path, out: str | Path | None = None, device: str = "auto", part: str = "valid",
    data_path: str | Path | None = None,
) -> Diagnosis:
    """Measure the best epoch of a run and write `diagnosis.json` and plots into `out`.

    Args:
        folder: of a finished SSR run.
        out: a folder, made if needed; the run's own without one.
        part: valid, or test.
        data_path: the folder of datasets, where they have moved since the run.

    Raises:
        UserError: the folder is no finished run of SSR, or a flag has a wrong value.
    """
    if part not in PARTS:
        raise UserError(f"--part is {part!r}; choose valid or test.{nearest(part, PARTS)}")
    folder = runs.existing(folder)
    result = _result_of(folder)
    out = _output_folder(out or folder)
    with runs.quiet_host(), torch.no_grad():
        experiment = load_run(folder, device, data_path=data_path)
        _check_same_run(experiment, folder, result)
        diagnosis = _measured(experiment, folder, result, part)
    write_record(asdict(diagnosis), out / FILE)
    from recbole_ssr.report.diagnosis.plots import draw_all  # matplotlib is slow to import

    draw_all(diagnosis, out)
    return diagnosis


def _result_of(folder: Path) -> RunResult:
    result = RunResult.read(folder)
    if result.model != "SSR":
        raise UserError(
            f"{folder} is a run of {result.model}; diagnose looks at spectral bands, which only "
            "SSR has. Name the folder of a run with --model=SSR"
        )
    return result


def _check_same_run(experiment: Experiment, folder: Path, result: RunResult) -> None:
    config = experiment.config
    for key in ("model", "dataset", "seed"):
        if getattr(result, key) != config[key]:
            raise UserError(f"the metrics in {folder} are of the {key} {getattr(result, key)}, its "
                            f"settings name {config[key]}. Put the files of one run together again")


def _output_folder(out: str | Path) -> Path:
    out = expanded(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}. Name another with "
                        "--out=FOLDER") from None
    return out


def _measured(experiment: Experiment, folder: Path, result: RunResult, part: str) -> Diagnosis:
    model, config = experiment.model, experiment.config
    slots = _slots(model)
    bands = band_names(len(slots.item))
    is_paper = isinstance(model, SSR)
    agreement = Agreement(*map(_plain, spectral.agreement(slots.item[:, :, 1:])))
    stability = _stability(experiment, slots)
    activity = model.graph["R"].crow_indices().diff().cpu()
    ablation = gate = weight = None
    if is_paper:
        ablation = _ablation(experiment, folder, part, bands, activity, slots)
        gate, weight = _gate(model, slots.user, activity)
    verdicts = [
        claims.low_is_stable(bands, stability, agreement),
        claims.mid_is_shared(bands, agreement),
        claims.high_is_discriminative_but_noisy(bands, stability, ablation),
    ]
    if is_paper:
        smooth = weight[:, :-1].sum((1, 2))
        cold = (activity <= COLD)[1:]
        verdicts.append(claims.cold_users_lean_on_low_and_mid(
            bands, smooth[cold].tolist(), smooth[~cold].tolist(), COLD
        ))
    return Diagnosis(
        run=str(folder), dataset=result.dataset, profile=config["profile"],
        band_filter=type(model.bank).__name__ if is_paper else "reference", part=part,
        best_epoch=result.best_epoch, bands=bands, modalities=list(model.modalities),
        energy={side: _plain(spectral.band_energy(s[:, :, 1:]))
                for side, s in zip(("users", "items"), slots)},
        spectrum=_spectrum(model, slots), mixing=_mixing(model) if is_paper else None, gate=gate,
        agreement=agreement, stability=stability, ablation=ablation, claims=verdicts,
    )


def _slots(model: SSR | ReferenceSSR) -> Slots:
    """Return the bands as they enter the fusion."""
    sides = model.spectra()
    if isinstance(model, ReferenceSSR):
        C = len(model.modalities)
        return Slots(*(side.bands.unflatten(2, (C, model.width)).transpose(1, 2)
                       for side in sides))
    return Slots(*(
        side.slots if side.weights is None
        else side.slots * side.weights.permute(1, 2, 0).unsqueeze(3)
        for side in sides
    ))


def _spectrum(model: SSR | ReferenceSSR, slots: Slots) -> Spectrum:
    device = slots.item.device
    eigenvalues = torch.linspace(0, 2, _EIGENVALUES, device=device)
    if isinstance(model, ReferenceSSR):
        responses = response(model.constants["bank"], eigenvalues)
        borders = torch.full((len(responses) - 1,), torch.nan)
    else:
        responses, borders = model.bank.response(eigenvalues), model.bank.borders
    edges = torch.linspace(0, 2, _INTERVALS + 1, dtype=torch.float64)
    density = {}
    for k, c in enumerate(model.modalities):
        signal = slots.signal(k)
        if any(part.any() for part in signal):
            shares = spectral.shares_between(spectral.energy_of(model.graph, signal), edges)
            density[c] = _plain(shares / edges.diff())
    return Spectrum(_plain(eigenvalues), _plain(responses), _plain(borders), _plain(edges), density)


def _mixing(model: SSR) -> dict[str, Mixing] | None:
    """Return what the operators of both sides mix, None where these are off."""
    if not len(model.user_fusion.p):
        return None
    by_side = {}
    for side, fusion in (("users", model.user_fusion), ("items", model.item_fusion)):
        kernel = fusion.mixing()
        matrix = kernel.flatten(2).flatten(0, 1)
        by_side[side] = Mixing(_plain(matrix), spectral.crossing(kernel))
    return by_side


def _gate(model: SSR, slots: Tensor, activity: Tensor) -> tuple[list[ActivityGroup], Tensor]:
    """Return the gate of every group, and every user's share of the slots (U - 1, M, C)."""
    facts = model.spectra()[0].facts
    M, C = slots.shape[:2]
    gate = model.user_fusion.gate(slots.sum((0, 1)), facts)
    gate = gate * model.evaluation_gains()[0].flatten()  # as scores have it
    weight = spectral.reliance(slots, gate)[1:].cpu()
    gate = gate.view(-1, M, C)[1:].cpu()
    groups = [
        ActivityGroup(name, int(rows.sum()), _plain(gate[rows].mean(0)),
                      _plain(weight[rows].mean(0)))
        for name, rows in _groups(activity[1:], _ACTIVITY)
    ]
    return groups, weight


def _groups(activity: Tensor, most: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and members of the groups that have any. Shapes: activity (U,)."""
    at_least = (0, *(n + 1 for n in most))
    for low, high in zip(at_least, (*most, None)):
        rows = (activity >= low) & (activity <= (activity.max() if high is None else high))
        name = f"more than {low - 1}" if high is None else f"{low} to {high}" if low else (
            f"at most {high}")
        if rows.any():
            yield name, rows


def _stability(experiment: Experiment, slots: Slots) -> Stability:
    """Compare the bands with those of the same parameters on a graph with fewer interactions.

    Equal-energy bands are fitted anew, as the model would. Nodes without any interaction left
    take no part.
    """
    train, config = experiment.train._dataset, experiment.config
    generator = torch.Generator().manual_seed(_DROP_SEED)
    kept = torch.rand(len(train.inter_feat), generator=generator) >= _DROPPED
    # Building a model draws initial parameters, which the trained ones replace.
    thin = train.copy(train.inter_feat[kept])
    if isinstance(thin, MultimodalDataset):  # the features that the run was measured with
        thin = thin.with_features_of(Corruption.of(config, stage="inference"))
    with torch.random.fork_rng():
        thinner = config.model_class(config, thin)
    thinner.to(config["device"]).eval()
    thinner.load_state_dict(dict(experiment.model.named_parameters()), strict=False)
    if isinstance(thinner, SSR):
        thinner.fit_bands()
    cosines = []
    for side, before, after in zip(("R", "Rt"), slots, _slots(thinner)):
        left = thinner.graph[side].crow_indices().diff() > 0
        cosines.append(_plain(spectral.stability(before[:, :, left], after[:, :, left])))
    return Stability(_DROPPED, _DROP_SEED, *cosines)


class _Recorder:
    """An evaluator that also keeps what it evaluates."""

    def __init__(self, evaluator):
        self.evaluator, self.data = evaluator, None

    def evaluate(self, data):
        self.data = data
        return self.evaluator.evaluate(data)


def _ablation(
    experiment: Experiment, folder: Path, part: str, bands: list[str], activity: Tensor,
    slots: Slots,
) -> Ablation:
    """Evaluate the part with bands and modalities left out, by the run's own evaluator.

    A variant that leaves nothing but zeros, the only band being empty, ranks nothing and is left
    out.
    """
    data = getattr(experiment, part)
    if not data:
        raise UserError(f"the run has no {part} part; diagnose the other with --part")
    model, config = experiment.model, experiment.config
    # The trainer makes a folder of its own unless it is told of one.
    config["run_folder"], config["checkpoint_dir"] = str(folder), str(folder)
    trainer = trainer_of(experiment)
    trainer.eval_collector.data_collect(experiment.train)
    trainer.evaluator = recorder = _Recorder(trainer.evaluator)
    k = _cutoff(config)
    variants, full = [], None
    filled = sum(side.abs().sum((2, 3)) for side in slots).cpu()
    for name, keep in _variants(bands, model.modalities):
        if keep is not None and not (filled * keep).any():
            continue
        model.use_embeddings(model.encode(keep))
        metrics = trainer.evaluate(data, load_best_model=False)
        if "rec.topk" not in recorder.data or "rec.users" not in recorder.data:
            raise UserError(f"the run's metrics are {', '.join(config['metrics'])}; diagnose needs "
                            "one of a ranking, such as Recall or NDCG")
        topk = recorder.data["rec.topk"].numpy()
        hits = Hits(topk[:, :-1].astype(bool), topk[:, -1])
        values = {m: torch.from_numpy(values_at(hits, m, k)) for m in ("recall", "ndcg")}
        full = full or values
        groups = _by_group(values, activity[recorder.data["rec.users"]])
        change = {m: v - full[m] for m, v in values.items()}
        variants.append(Variant(
            name, {m: float(v) for m, v in metrics.items()}, groups,
            {m: v.mean().item() for m, v in change.items()},
            {m: v.std().item() / len(v) ** 0.5 for m, v in change.items()},
        ))
    model.drop_encoded()
    return Ablation(k, variants)


def _cutoff(config) -> int:
    """The cut-off of the metric that selected the epoch, else the largest one."""
    at = str(config["valid_metric"]).partition("@")[2]
    return int(at) if at.isdigit() else max(config["topk"])


def _variants(
    bands: list[str], modalities: tuple[str, ...]
) -> Iterator[tuple[str, Tensor | None]]:
    """Yield names, and which slots (M, C) to keep as 0 and 1; None keeps all."""
    M, C = len(bands), len(modalities)
    yield "everything", None
    for axis, names in enumerate((bands, modalities)):
        for k, name in enumerate(names):
            if len(names) > 1:  # without its only band or modality nothing is left
                keep = torch.ones(M, C)
                keep.select(axis, k).zero_()
                yield f"without {name}", keep
    for m, band in enumerate(bands):
        if M > 1:
            keep = torch.zeros(M, C)
            keep[m] = 1
            yield f"only {band}", keep


def _by_group(values: dict[str, Tensor], activity: Tensor) -> dict[str, dict[str, float]]:
    groups = [("all", torch.ones_like(activity, dtype=torch.bool)), *_groups(activity, (COLD,))]
    return {
        name: {"users": int(rows.sum()), **{m: v[rows].mean().item() for m, v in values.items()}}
        for name, rows in groups
    }


def _plain(x: Tensor) -> list:
    return x.cpu().double().tolist()
