"""The prepare and evaluate steps on a small run, from data to metrics file."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch
from fake_results import UNIVARIATE

from t3vae.errors import DataError
from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.stages import evaluate, prepare, sample, train
from t3vae.training import checkpoint

RUN = ("tiny", "t3vae_nu9", 0)
LATENTS = ["prior", "alternative", "fitted"]
DATA = {**UNIVARIATE, "train": 4000, "validation": 1000, "test": 6000}
TRAIN = {
    "dataset": "toy",
    "network": {"kind": "mlp", "hidden": [16, 16], "negative_slope": 0.01},
    "model": {"family": "t3vae", "nu": 9.0, "beta": 1.0},
    "latent_dim": 1,
    "sigma": 0.3,
    "training": {
        "learning_rate": 5e-3,
        "epsilon": 1e-8,
        "weight_decay": 0.0,
        "batch_size": 256,
        "epochs": 3,
        "patience": 5,
        "clip_norm": None,
        "precision": "float32",
    },
    "seed": 0,
}
SAMPLE = {
    "dataset": "toy",
    "latents": LATENTS,
    "sampling": {
        "samples": 5000,
        "aggregate": 3000,
        "reconstructions": 200,
        "fit": {
            "points": 2000,
            "max_components": 2,
            "held_out": 0.2,
            "iterations": 50,
            "tolerance": 1e-5,
        },
    },
    "seed": 0,
}
EVALUATE = {
    "dataset": "toy",
    "latents": LATENTS,
    "metrics": [
        "mmd_linear", "mmd", "ks", "anderson_darling", "ksd", "tail_mass_ratio",
        "tail_quantile_error", "hill", "expected_shortfall", "log_likelihood",
        "reconstruction_error",
    ],
    "evaluation": {
        "threshold": 6.0,
        "confidence": 0.95,
        "mmd_linear": {"points": 2000, "permutations": 99, "null_distribution": "sign_flip"},
        "mmd": {"points": 200, "permutations": 49, "bandwidth_points": 100},
        "ks": {},
        "anderson_darling": {},
        "ksd": {"points": 200, "c": 1.0, "beta": -0.5},
        "tail_mass_ratio": {},
        "tail_quantile_error": {"levels": [1e-3, 1e-2]},
        "hill": {"fraction": 0.02, "steps": 2},
        "expected_shortfall": {"levels": [1e-2]},
        "log_likelihood": {"points": 150, "samples": 200},
        "reconstruction_error": {},
    },
    "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    prepare.run(folder, DATA, "toy")
    train.run(folder, TRAIN, *RUN, "cpu")
    sample.run(folder, SAMPLE, *RUN, "cpu")
    evaluate.run(folder, EVALUATE, *RUN, "cpu")
    torch.set_flush_denormal(False)  # training turns it on for the whole process
    return folder


@pytest.fixture(scope="module")
def record(root):
    return files.read_json(layout.under(root, layout.metrics(*RUN)))


def find(record, name, latent, group="all"):
    (entry,) = [
        e
        for e in record["metrics"]
        if (e["name"], e["latent"], e["group"]) == (name, latent, group)
    ]
    return entry


def test_every_entry_is_complete(record):
    assert (record["experiment"], record["model"], record["seed"]) == RUN
    keys = [(e["name"], e["latent"], e["group"]) for e in record["metrics"]]
    assert len(set(keys)) == len(keys)
    names = {e["name"] for e in record["metrics"]}
    assert set(EVALUATE["metrics"]) <= names
    for entry in record["metrics"]:
        assert {"name", "latent", "group", "value", "n", "split", "protocol"} <= set(entry)
        assert entry["split"] == "test"
        assert entry["latent"] in (*LATENTS, None)
        assert entry["value"] is not None or entry["reason"]
    for name in EVALUATE["metrics"][:-1]:
        assert {e["latent"] for e in record["metrics"] if e["name"] == name} == set(LATENTS)
    for name in ("reconstruction_error", "hill_reference", "log_likelihood_true"):
        assert {e["latent"] for e in record["metrics"] if e["name"] == name} == {None}


def test_values_are_those_of_the_samples(root, record):
    samples = files.read_tensors(layout.under(root, layout.samples(*RUN)))
    test = files.read_npy(layout.under(root, layout.prepared("toy", "test.npy")))
    gap = samples["reconstructions"].astype(float) - test[:200]
    assert find(record, "reconstruction_error", None)["value"] == pytest.approx(
        np.square(gap).sum(1).mean()
    )
    truth = {"left_tail": 0.00319560598, "right_tail": 0.00221255509}
    for latent in LATENTS:
        points = samples[f"samples/{latent}"][:, 0]
        share = {"left_tail": np.mean(points < -6), "right_tail": np.mean(points > 6)}
        for group, expected in truth.items():
            value = find(record, "tail_mass_ratio", latent, group)["value"]
            assert value == pytest.approx(share[group] / expected, rel=1e-6)


def test_likelihood_agrees_with_quadrature_over_the_latent(root, record):
    """Importance sampling against p(x) = int p(x | z) p(z) dz on a grid, for each distribution."""
    net = checkpoint.load_run(layout.under(root, layout.run_dir(*RUN)))
    checkpoint.set_fitted(net, files.read_tensors(layout.under(root, layout.samples(*RUN))))
    test = files.read_npy(layout.under(root, layout.prepared("toy", "test.npy")))
    x = torch.from_numpy(test[:1500].astype(np.float64))
    net = net.double()
    z = torch.sinh(torch.linspace(-9, 9, 6001, dtype=torch.float64))[:, None] * 0.02
    weights = torch.gradient(z[:, 0])[0]
    values = {}
    with torch.no_grad():
        decoded = net.decode(z)
        cond = torch.stack([decoded.log_prob(point.expand(len(z), 1)) for point in x])
        for latent in LATENTS:
            distribution = net.latent_distribution(latent)
            log_p = torch.logsumexp(cond + distribution.log_prob(z) + torch.log(weights), dim=1)
            values[latent] = log_p.mean().item()
    for latent, value in values.items():
        entry = find(record, "log_likelihood", latent)
        assert entry["n"] == 150
        # 150 points against 1500: the spread over points, and the bound of 200 samples
        slack = 4 * entry["se"] * math.sqrt(1.1) + 0.02
        assert entry["value"] == pytest.approx(value, abs=slack)
    # the same points under each distribution, so that their differences are much sharper
    gap = values["fitted"] - values["prior"]
    ours = [find(record, "log_likelihood", latent)["value"] for latent in ("fitted", "prior")]
    assert ours[0] - ours[1] == pytest.approx(gap, abs=0.15)


def test_provenance_names_every_input(root, record):
    inputs = record["provenance"]["inputs"]
    expected = [
        layout.manifest("toy"),
        layout.samples(*RUN),
        layout.run_file(*RUN, "model.safetensors"),
        layout.run_file(*RUN, "config.json"),
    ]
    assert sorted(inputs) == sorted(expected)
    for path, digest in inputs.items():
        assert digest == digests.file_digest(layout.under(root, path))
    assert record["provenance"]["config"] == digests.digest(EVALUATE)


def copy_of(root, tmp_path):
    shutil.copytree(root / "data", tmp_path / "data")
    shutil.copytree(root / "results", tmp_path / "results")
    return tmp_path


def test_evaluation_again_gives_the_same_bytes(root, tmp_path):
    other = copy_of(root, tmp_path)
    path = layout.under(other, layout.metrics(*RUN))
    before = path.read_bytes()
    path.unlink()
    evaluate.run(other, EVALUATE, *RUN, "cpu")
    assert path.read_bytes() == before


def test_a_distribution_that_equals_another_is_computed_once(root, tmp_path):
    other = copy_of(root, tmp_path)
    path = layout.under(other, layout.samples(*RUN))
    samples = files.read_tensors(path)
    samples["samples/alternative"] = samples["samples/prior"]
    files.write_tensors(path, samples)
    config = {**EVALUATE, "metrics": ["mmd", "tail_mass_ratio"]}
    evaluate.run(other, config, *RUN, "cpu")
    entries = files.read_json(layout.under(other, layout.metrics(*RUN)))["metrics"]
    sides = {
        latent: [{**e, "latent": None} for e in entries if e["latent"] == latent]
        for latent in LATENTS
    }
    assert sides["alternative"] == sides["prior"] != sides["fitted"]


def test_draws_without_tails_are_results_with_reasons(root, tmp_path):
    other = copy_of(root, tmp_path)
    path = layout.under(other, layout.samples(*RUN))
    samples = files.read_tensors(path)
    samples["samples/prior"] = np.clip(samples["samples/prior"], -1, 1)
    files.write_tensors(path, samples)
    evaluate.run(other, {**EVALUATE, "metrics": EVALUATE["metrics"][:9]}, *RUN, "cpu")
    record = files.read_json(layout.under(other, layout.metrics(*RUN)))
    for name in ("mmd", "mmd_linear"):
        empty = find(record, name, "prior", "left_tail")
        assert empty["value"] is None
        assert "0 generated" in empty["reason"]
    assert find(record, "tail_mass_ratio", "prior", "left_tail")["value"] == 0


def test_missing_inputs_are_named(root, tmp_path):
    other = copy_of(root, tmp_path)
    path = layout.under(other, layout.samples(*RUN))
    samples = files.read_tensors(path)
    del samples["samples/fitted"]
    files.write_tensors(path, samples)
    with pytest.raises(DataError, match=r"samples/fitted.*t3vae sample"):
        evaluate.run(other, EVALUATE, *RUN, "cpu")
    path.unlink()
    with pytest.raises(DataError, match="seed0"):
        evaluate.run(other, EVALUATE, *RUN, "cpu")
