"""`recbole-ssr diagnose`: the figures it reports are what they claim to be."""

import io
import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.image import imread
from rich.console import Console
from tiny import SETTINGS, USERS, write_tiny

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.data.features import write_features
from recbole_ssr.diagnose import diagnose
from recbole_ssr.errors import UserError
from recbole_ssr.report.diagnosis import claims
from recbole_ssr.report.diagnosis.record import Ablation, Agreement, Stability, Variant, band_names
from recbole_ssr.report.diagnosis.tables import tables
from recbole_ssr.report.terminal import rendered
from recbole_ssr.spectral import diagnosis as spectral
from recbole_ssr.spectral.energy import EnergyDistribution

PICTURES = {f"diagnosis-{name}.png"
            for name in ("energy", "spectrum", "mixing", "gate", "agreement", "ablation")}
OF_ANY_PROFILE = {f"diagnosis-{name}.png" for name in ("energy", "spectrum", "agreement")}


def write_uneven(root):
    """`tiny` with users of 2 to 18 training interactions and text for 20 of its 24 items."""
    settings = write_tiny(root)
    rng = np.random.default_rng(3)
    lines = ["user_id:token\titem_id:token\tpart:float"]
    for user in range(USERS):
        items = rng.permutation(24)[: 4 + 16 * (user % 4) // 3]
        lines += [f"u{user}\ti{item}\t{max(0, 2 - k)}" for k, item in enumerate(items)]
    (root / "tiny/tiny.inter").write_text("\n".join(lines) + "\n")
    tokens = [f"i{item}" for item in range(20)]
    write_features(root / "tiny/features", "text", rng.normal(size=(20, 5)).astype(np.float32),
                   tokens)
    return settings


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Return a function that trains SSR on the uneven dataset for 2 epochs."""
    root = tmp_path_factory.mktemp("diagnose")
    settings = SETTINGS | write_uneven(root / "data") | {"run_dir": str(root / "runs")}

    def run(model="SSR", **changes):
        return recbole_ssr.run(model=model, dataset="tiny",
                               config_dict=settings | {"epochs": 2} | changes)

    return run


@pytest.fixture(scope="module")
def result(train):
    return train(user_weights=True, band_filter="chebyshev", operator_rank=2,
                 inference_gains=[1.0, 1.2, 0.7])


@pytest.fixture(scope="module")
def diagnosis(result):
    return diagnose(result.run, device="cpu")


@pytest.fixture(scope="module")
def model(result):
    return recbole_ssr.load_run(result.run, "cpu").model


def printed(sheet):
    console = Console(width=100, file=io.StringIO())
    console.print(rendered(sheet))
    return console.file.getvalue()


def check_pictures(folder, names):
    assert {path.name for path in Path(folder).glob("diagnosis-*.png")} == names
    for name in names:
        pixels = imread(Path(folder) / name)[..., :3]
        assert min(pixels.shape[:2]) > 150
        assert 0.02 < (pixels.min(axis=2) < 0.9).mean() < 0.9, name  # neither blank nor flooded
        edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edge == 1).all(), f"{name} is cut"


# The record


def test_the_file_is_the_diagnosis_and_valid_json(result, diagnosis):
    def no_constant(name):
        raise AssertionError(f"{name} is no JSON")

    text = (Path(result.run) / "diagnosis.json").read_text()
    read = json.loads(text, parse_constant=no_constant)
    assert list(read) == list(asdict(diagnosis))
    assert read["ablation"] == asdict(diagnosis)["ablation"]
    assert read["bands"] == ["low", "mid", "high"] and read["modalities"][0] == "id"
    assert sorted(read["modalities"]) == ["id", "image", "text"]
    assert len(read["claims"]) == 4


def test_pictures(result, diagnosis):
    assert diagnosis.mixing
    check_pictures(result.run, PICTURES)


def test_tables_fit_100_columns_and_the_claims_say_what_decides(diagnosis):
    found = tables(diagnosis)
    assert len(found) == 8
    for table in found:
        text = printed(table)
        assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    words = " ".join(printed(found[-1]).split())
    assert words.count("Seen if") == 4
    assert all(claim.verdict in ("seen", "not seen", "not applicable")
               for claim in diagnosis.claims)


# Bands


def test_energy_shares_are_those_of_the_bands_that_enter_the_fusion(diagnosis, model):
    with torch.no_grad():
        for side, spectrum in zip(("users", "items"), model.spectra()):
            shares = torch.tensor(diagnosis.energy[side], dtype=torch.float64)
            torch.testing.assert_close(shares.sum(0), torch.ones(3, dtype=torch.float64))
            slots = spectrum.slots.double()
            if spectrum.weights is not None:
                slots = slots * spectrum.weights[:, 0].T[None, :, :, None]
            energy = (slots[:, :, 1:] ** 2).sum((2, 3))
            torch.testing.assert_close(shares, energy / energy.sum(0), rtol=1e-6, atol=0)


def test_the_spectrum_is_the_banks_and_its_densities_have_mass_one(diagnosis, model):
    spectrum = diagnosis.spectrum
    x, h = torch.tensor(spectrum.eigenvalues), torch.tensor(spectrum.responses)
    torch.testing.assert_close(h, model.bank.response(x))
    torch.testing.assert_close(h.sum(0), torch.ones(len(x)))
    torch.testing.assert_close(torch.tensor(spectrum.borders), model.bank.borders.float())
    width = np.diff(spectrum.edges)
    assert list(spectrum.density) == diagnosis.modalities
    for density in spectrum.density.values():
        assert np.dot(density, width) == pytest.approx(1, abs=1e-9) and min(density) >= 0


def test_shares_between_edges_of_a_known_distribution():
    theta = torch.linspace(math.pi, 0, 2049, dtype=torch.float64)
    uniform_in_x = EnergyDistribution(theta, (theta.cos() + 1) / 2)
    edges = torch.tensor([0.0, 0.3, 1.0, 1.9, 2.0])
    shares = spectral.shares_between(uniform_in_x, edges)
    torch.testing.assert_close(shares, edges.double().diff() / 2, rtol=0, atol=1e-6)


def test_the_mixing_matrix_is_the_models(diagnosis, model):
    assert diagnosis.slots[:4] == [f"low {c}" for c in diagnosis.modalities] + ["mid id"]
    for side, fusion in (("users", model.user_fusion), ("items", model.item_fusion)):
        matrix = torch.tensor(diagnosis.mixing[side].matrix)
        kernel = fusion.mixing().detach()
        assert matrix[5, 1] == pytest.approx(kernel[1, 2, 0, 1].item(), abs=1e-7)
        torch.testing.assert_close(matrix.view(3, 3, 3, 3), kernel)
        assert sum(diagnosis.mixing[side].shares.values()) == pytest.approx(1, abs=1e-6)


def test_crossing_counts_every_kind_of_connection():
    kernel = torch.zeros(2, 2, 2, 2)
    kernel[0, 0, 0, 0], kernel[1, 0, 0, 0], kernel[0, 1, 0, 0], kernel[1, 1, 0, 0] = 4, -3, 2, 1
    assert list(spectral.crossing(kernel).values()) == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_gates_by_activity_are_weighted_parts_of_the_mean_gate(diagnosis, model):
    """As they are in evaluation, whose gains calibration and `inference_gains` change."""
    groups = diagnosis.gate
    assert [g.name for g in groups] == ["at most 5", "6 to 10", "11 to 20"]  # no larger user
    assert sum(g.users for g in groups) == USERS
    with torch.no_grad():
        user = model.spectra()[0]
        slots = user.slots * user.weights[:, 0].T[None, :, :, None]
        gate = model.user_fusion.gate(slots.sum((0, 1)), user.facts)[1:].view(-1, 3, 3)
        gate = gate * model.evaluation_gains()[0]
    assert not torch.equal(model.evaluation_gains()[0], torch.ones(3, 3))
    mean = sum(g.users * torch.tensor(g.gate) for g in groups) / USERS
    torch.testing.assert_close(mean, gate.mean(0), rtol=1e-5, atol=1e-6)
    for group in groups:
        assert np.sum(group.weight) == pytest.approx(1, abs=1e-6)


# Agreement and stability


def test_agreement_against_every_pair_by_hand():
    slots = torch.randn(2, 3, 7, 4, generator=torch.Generator().manual_seed(0))
    slots[:, 1, 2] = 0  # an item without a signal in one modality
    same, other = spectral.agreement(slots)
    for m in range(2):
        for a in range(3):
            for b in range(3):
                alike, unlike = [], []
                for i in range(7):
                    for j in range(7):
                        x, y = slots[m, a, i], slots[m, b, j]
                        if x.any() and y.any():
                            (alike if i == j else unlike).append(
                                torch.cosine_similarity(x, y, dim=0).item())
                assert same[m, a, b].item() == pytest.approx(np.mean(alike), abs=1e-6)
                assert other[m, a, b].item() == pytest.approx(np.mean(unlike), abs=1e-6)


def test_a_modality_agrees_with_itself(diagnosis):
    same = np.array(diagnosis.agreement.same_item)
    assert np.allclose(same[:, range(3), range(3)], 1, atol=1e-6)
    assert np.allclose(same, same.transpose(0, 2, 1)) and np.abs(same).max() <= 1 + 1e-9


def test_stability_is_the_mean_cosine_of_nodes_with_a_signal():
    before = torch.randn(1, 2, 5, 3, generator=torch.Generator().manual_seed(1))
    before[0, 1, 0] = 0
    assert torch.allclose(spectral.stability(before, 3 * before), torch.ones(1, 2).double())
    after = before.clone()
    after[0, 1, 1] *= -1
    assert spectral.stability(before, after)[0].tolist() == pytest.approx([1, 0.5])


def test_stability_of_a_run_lies_below_one_and_repeats(result, diagnosis):
    cosines = np.array(diagnosis.stability.items)
    assert (cosines <= 1).all() and (cosines < 0.9999).any()
    again = diagnose(result.run, device="cpu")
    assert again.stability == diagnosis.stability and again.ablation == diagnosis.ablation


def test_stability_compares_bands_of_the_same_features(train, monkeypatch):
    """Nothing is dropped: only borders move, which are fitted anew, though training had others."""
    run = train(epochs=1, feature_noise={"text": 2.0}, corruption_at="inference").run
    monkeypatch.setattr(recbole_ssr.diagnose, "_DROPPED", 0.0)
    assert np.min(diagnose(run, device="cpu").stability.items) > 0.9


# What each part is worth


def test_with_everything_the_run_repeats_its_metrics(result, diagnosis):
    everything = diagnosis.ablation.variants[0]
    assert everything.name == "everything" and diagnosis.ablation.k == 5
    assert everything.metrics == pytest.approx(result.valid, abs=1e-6)
    for metric in ("recall", "ndcg"):
        assert everything.groups["all"][metric] == pytest.approx(
            result.valid[f"{metric}@5"], abs=1e-6)
        assert everything.change[metric] == everything.error[metric] == 0


def test_the_test_part_repeats_the_runs_test_metrics(result, tmp_path):
    diagnosis = diagnose(result.run, tmp_path / "new" / "out", "cpu", "test")
    assert diagnosis.ablation.variants[0].metrics == pytest.approx(result.test, abs=1e-6)
    check_pictures(tmp_path / "new" / "out", PICTURES)
    assert (tmp_path / "new" / "out" / "diagnosis.json").is_file()


def test_groups_of_users_add_up_to_all(diagnosis):
    for variant in diagnosis.ablation.variants:
        groups = {name: g for name, g in variant.groups.items() if name != "all"}
        assert list(groups) == ["at most 5", "more than 5"]
        users = sum(g["users"] for g in groups.values())
        assert users == variant.groups["all"]["users"] == USERS
        for metric in ("recall", "ndcg"):
            weighted = sum(g["users"] * g[metric] for g in groups.values()) / users
            assert weighted == pytest.approx(variant.groups["all"][metric], abs=1e-12)
            assert variant.groups["all"][metric] == pytest.approx(
                variant.metrics[f"{metric}@5"], abs=1e-6)


def test_a_variant_is_the_model_without_its_part(result, diagnosis):
    experiment = recbole_ssr.load_run(result.run, "cpu")
    by_name = {v.name: v for v in diagnosis.ablation.variants}
    assert list(by_name) == [
        "everything", "without low", "without mid", "without high",
        *(f"without {c}" for c in diagnosis.modalities), "only low", "only mid", "only high"]
    keep = torch.ones(3, 3)
    keep[1] = 0
    check_recall(experiment, keep, by_name["without mid"])
    keep = torch.zeros(3, 3)
    keep[2] = 1
    check_recall(experiment, keep, by_name["only high"])


def check_recall(experiment, keep, variant):
    """Rank by hand from the embeddings that are left, training items masked."""
    model, hits = experiment.model, []
    with torch.no_grad():
        user, item = model.encode(keep)
    scores = user @ item.T
    users, items = model.graph.edges()
    scores[users, items] = -torch.inf
    scores[:, 0] = -torch.inf
    truth = experiment.valid._dataset.inter_feat
    for u, i in zip(truth["user_id"], truth["item_id"]):
        hits.append(float(i in scores[u].topk(5).indices))
    assert len(hits) == USERS and np.mean(hits) == pytest.approx(variant.metrics["recall@5"], 1e-5)


def test_an_empty_band_has_no_figures_of_its_own(train):
    # Most of the energy is in the one mode of lambda = 0, which then lies in the middle band.
    diagnosis = diagnose(train(epochs=1, band_filter="exact", item_graph_weight=0.0).run,
                         device="cpu")
    assert np.all(np.array(diagnosis.energy["users"])[0] == 0)
    assert np.isnan(np.array(diagnosis.agreement.same_item)[0]).all()
    names = [v.name for v in diagnosis.ablation.variants]
    assert "only low" not in names and "only mid" in names
    without = diagnosis.ablation.variants[names.index("without low")]
    assert without.change == {"recall": 0, "ndcg": 0}
    assert diagnosis.claims[0].verdict == diagnosis.claims[1].verdict == "not applicable"
    assert "empty" in diagnosis.claims[0].evidence


# Verdicts


def stability_of(*by_band):
    return Stability(0.2, 0, [], [[value, value] for value in by_band])


def agreement_of(excess, alike=0.5):
    same = [[[1, 0.1 + e], [0.1 + e, 1]] for e in excess]
    other = [[[alike, 0.1], [0.1, alike]] for _ in excess]
    return Agreement(same, other)


def test_low_is_stable_only_if_it_changes_least():
    bands = band_names(3)
    shared = agreement_of([0, 0, 0])
    assert claims.low_is_stable(bands, stability_of(0.9, 0.8, 0.7), shared).verdict == "seen"
    assert claims.low_is_stable(bands, stability_of(0.8, 0.9, 0.7), shared).verdict == "not seen"
    assert claims.low_is_stable(["all"], stability_of(1), shared).verdict == "not applicable"
    empty = claims.low_is_stable(bands, stability_of(math.nan, 0.8, 0.7), shared)
    assert empty.verdict == "not applicable"
    flat = claims.low_is_stable(bands, stability_of(1, 0.8, 0.7), agreement_of([0, 0, 0], 1.0))
    assert "one direction" in flat.evidence


def test_mid_is_shared_needs_three_bands_that_tell_items_apart():
    verdict = [claims.mid_is_shared(band_names(len(e)), agreement_of(e, alike)).verdict
               for e, alike in (([0.1, 0.4, 0.2], 0.5), ([0.4, 0.1, 0.2], 0.5),
                                ([0.1, 0, 0.4, 0], 0.5), ([0.1, 0.4], 0.5), ([0, 0.4, 0], 1.0))]
    assert verdict == ["seen", "not seen", "seen", "not applicable", "not applicable"]


@pytest.mark.parametrize("change, high, verdict", [
    (-0.1, 0.5, "seen"), (-0.01, 0.5, "not seen"), (-0.1, 0.95, "not seen"), (0.1, 0.5, "not seen"),
])  # fmt: skip
def test_high_is_discriminative_but_noisy_needs_both(change, high, verdict):
    variant = Variant("without high", {}, {}, {"recall": change}, {"recall": 0.02})
    claim = claims.high_is_discriminative_but_noisy(
        band_names(3), stability_of(0.9, 0.8, high), Ablation(20, [variant]))
    assert claim.verdict == verdict and "Recall@20" in claim.criterion


def test_cold_users_must_differ_by_more_than_chance():
    def verdict(cold, others, n_bands=3):
        return claims.cold_users_lean_on_low_and_mid(band_names(n_bands), cold, others, 5).verdict

    assert verdict([0.8, 0.82, 0.81], [0.5, 0.52, 0.51]) == "seen"
    assert verdict([0.5, 0.52, 0.51], [0.8, 0.82, 0.81]) == "not seen"
    assert verdict([0.1, 0.9, 0.6], [0.2, 0.8, 0.5]) == "not seen"
    assert verdict([], [0.5, 0.6]) == verdict([1, 1], [0.5, 0.5], 2) == "not applicable"


def test_names_of_bands():
    assert [" ".join(band_names(n)) for n in (1, 2, 3, 4)] == [
        "all", "low high", "low mid high", "low mid 1 mid 2 high"]


# Other models and settings


@pytest.mark.parametrize("changes", [
    {"n_bands": 1}, {"n_bands": 4, "band_filter": "reference"},
    {"n_bands": 2, "modalities": ["text"], "band_filter": "svd", "svd_modes": 5},
], ids=str)  # fmt: skip
def test_any_number_of_bands_modalities_and_any_filter(train, changes):
    run = train(epochs=1, **changes)
    diagnosis = diagnose(run.run, device="cpu")
    M, C = len(diagnosis.bands), len(diagnosis.modalities)
    assert changes.get("n_bands", 3) == M
    assert diagnosis.ablation.variants[0].metrics == pytest.approx(run.valid, abs=1e-6)
    assert len(diagnosis.ablation.variants) == 1 + 2 * M * (M > 1) + C * (C > 1)
    assert np.allclose(np.sum(diagnosis.energy["items"], axis=0), 1)
    assert diagnosis.mixing is None  # the operator is off
    check_pictures(run.run, PICTURES - {"diagnosis-mixing.png"})
    for table in tables(diagnosis):
        assert max(map(len, printed(table).splitlines())) <= 100
    if M < 3:
        assert [c.verdict for c in diagnosis.claims][1::2] == ["not applicable"] * 2


def test_the_reference_profile_shows_what_applies_to_it(train):
    run = train(epochs=1, profile="reference")
    diagnosis = diagnose(run.run, device="cpu")
    assert diagnosis.ablation is diagnosis.gate is diagnosis.mixing is None
    assert np.allclose(np.sum(diagnosis.energy["users"], axis=0), 1)
    assert all(b is None or math.isnan(b) for b in diagnosis.spectrum.borders)
    check_pictures(run.run, OF_ANY_PROFILE)
    assert "profile paper" in diagnosis.claims[2].evidence
    assert [printed(table) for table in tables(diagnosis)]


# Command line


def complaint(capsys, *words):
    assert main(["diagnose", *words]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and out == "" and "Traceback" not in err
    return lines[0]


def test_the_command_prints_tables_and_names_its_files(result, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["diagnose", result.run, f"--out={out}", "--device", "cpu", "--part=test"]) == 0
    printed = capsys.readouterr()
    for word in ("Energy", "Filters", "Mixing", "Gate", "Agreement", "Stability", "test part",
                 "Claims", "diagnosis.json"):
        assert word in printed.out
    assert max(map(len, printed.out.splitlines()[:-1])) <= 100 and printed.err == ""
    assert {path.name for path in out.iterdir()} == PICTURES | {"diagnosis.json"}


@pytest.mark.parametrize("words, parts", [
    ([], ["run folder", "diagnose"]),
    (["--part=test"], ["run folder", "first"]),
    (["RUN", "--prat=test"], ["--prat", "--part", "Did you mean"]),
    (["RUN", "--part=train"], ["'train'", "valid or test"]),
    (["RUN", "--out"], ["--out", "value"]),
    (["RUN", "--device=tpu"], ["'tpu'", "auto, cpu, cuda"]),
    (["RUNx"], ["not a run folder", "Runs there"]),
    (["RUN", "--out=FILE/below"], ["cannot make", "--out"]),
])  # fmt: skip
def test_mistakes_are_one_line_that_helps(result, tmp_path, capsys, words, parts):
    (tmp_path / "file").write_text("")
    words = [w.replace("RUN", result.run).replace("FILE", str(tmp_path / "file")) for w in words]
    line = complaint(capsys, *words)
    for part in parts:
        assert part in line, line


def test_runs_of_other_models_and_unfinished_runs_are_refused(train, capsys):
    run = train("BPR")
    line = complaint(capsys, run.run)
    assert "BPR" in line and "--model=SSR" in line
    unfinished = Path(train(epochs=1).run)
    (unfinished / "metrics.json").unlink()
    assert "finished" in complaint(capsys, str(unfinished))


def test_a_run_without_a_ranking_metric_is_refused(train):
    run = train(epochs=1, metrics=["ItemCoverage", "Recall"])
    assert diagnose(run.run, device="cpu").ablation.variants[0].metrics == pytest.approx(
        run.valid, abs=1e-6)
    run = train(epochs=1, metrics=["ItemCoverage"], valid_metric="ItemCoverage@5")
    with pytest.raises(UserError, match="Recall or NDCG"):
        diagnose(run.run, device="cpu")


def test_a_diagnosis_leaves_nothing_in_the_working_folder(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((Path(result.run) / "config.yaml").read_text())
    best = (Path(result.run) / "best.pth").read_bytes()
    diagnose(result.run, device="cpu")
    assert not list(tmp_path.iterdir())
    assert yaml.safe_load((Path(result.run) / "config.yaml").read_text()) == settings
    assert (Path(result.run) / "best.pth").read_bytes() == best


def test_files_of_several_runs_in_one_folder_are_refused(result, tmp_path):
    def changed(file, change):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        shutil.copytree(result.run, folder)
        (folder / file).write_text(change((folder / file).read_text()))
        return folder

    def diverse(text):
        return yaml.safe_dump(yaml.safe_load(text) | {"n_bands": 4})

    with pytest.raises(UserError, match="metrics in .* are of the seed 7, its settings name 2020"):
        diagnose(changed("metrics.json", lambda text: text.replace('"seed": 2020', '"seed": 7')))
    with pytest.raises(UserError, match="does not fit SSR on tiny .* instead of"):
        diagnose(changed("config.yaml", diverse))
    with pytest.raises(UserError, match="names no model and no dataset"):
        diagnose(changed("config.yaml", lambda _: ""))


def test_data_that_have_moved_can_be_named(train, tmp_path):
    run = train(epochs=1).run
    data = Path(yaml.safe_load((Path(run) / "config.yaml").read_text())["data_path"])
    data.rename(tmp_path / "moved")
    try:
        with pytest.raises(UserError, match="Set data_path"):
            diagnose(run, device="cpu")
        assert diagnose(run, device="cpu", data_path=tmp_path / "moved").bands
    finally:
        (tmp_path / "moved").rename(data)
