"""An experiment on images from data to report, and which jobs a change of it reruns."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from copies import CHECKOUT, append, copy_code
from torchvision.models import inception_v3

from t3vae.errors import ConfigError, DataError
from t3vae.extractors import inception
from t3vae.provenance import closure, digests
from t3vae.runtime import files, layout
from t3vae.settings import parameters
from t3vae.stages import (
    collect,
    evaluate,
    extractor,
    figure,
    prepare,
    report,
    sample,
    train,
)
from t3vae.tables.csv_files import read_table
from t3vae.workflow import check, disk, jobs
from t3vae.workflow.plan import Plan

EXPANDED = parameters.load(CHECKOUT / "params.yaml").model_dump(mode="json")
EXPERIMENT = "digits_smoke"
MODELS = ["beta_vae_matched", "c_t3vae_nu10"]


def small() -> dict:
    """Parameters whose smoke suite is one tiny experiment on images."""
    values = copy.deepcopy(EXPANDED)
    values["suite"] = "smoke"
    values["suites"]["smoke"] = [EXPERIMENT]
    values["networks"]["cnn_digits"]["width"] = 0.03125
    values["training"]["digits_smoke"]["epochs"] = 1
    values["extractors"]["digits_lt"].update(width=4, epochs=4)
    values["sampling"]["digits"].update(samples=120, reconstructions=150)
    values["evaluation"]["digits"]["kid"].update(subset_size=20, subsets=4)
    values["experiments"][EXPERIMENT]["metrics"].append("fid")
    values["experiments"][EXPERIMENT]["figures"] = ["samples", "per_class"]
    return values


def plan_of(folder: Path, values: dict) -> Plan:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return Plan(parameters.load(path))


STAGES = {
    "prepare": prepare,
    "extractor": extractor,
    "train": train,
    "sample": sample,
    "evaluate": evaluate,
    "collect": collect,
    "figure": figure,
    "report": report,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder in which every job of the tiny suite has run, in the plan's order."""
    folder = tmp_path_factory.mktemp("workflow")
    for job in plan_of(folder, small()).jobs():
        STAGES[job.verb].run(folder, dict(job.config), *job.names.values())
    return folder


def entries(root: Path, model: str) -> list[dict]:
    return files.read_json(layout.under(root, layout.metrics(EXPERIMENT, model, 0)))["metrics"]


def values_of(root: Path, model: str, name: str, latent: str) -> dict[str, float | None]:
    return {
        e["group"]: e["value"]
        for e in entries(root, model)
        if e["name"] == name and e["latent"] == latent
    }


# --- the whole path -----------------------------------------------------------------------


def test_every_output_of_the_plan_is_there_and_well(root):
    plan = plan_of(root, small())
    assert check.examine(root, plan) == []
    assert {job.verb for job in plan.jobs()} == set(STAGES) == set(check.VERBS)


def test_extractor_says_how_good_it_is(root):
    record = files.read_json(layout.under(root, layout.extractor("digits_lt")[1]))
    assert 0.5 < record["test_accuracy"]["all"] <= 1 and len(record["test_accuracy"]["each"]) == 10
    assert record["trained_on"]["array"] == "full_train.npy"
    features = files.read_npy(layout.under(root, layout.extractor("digits_lt")[2]))
    assert features.shape == (record["test_images"], 32) and features.dtype == np.float32


@pytest.mark.parametrize("model", MODELS)
def test_metrics_of_reconstructions_and_of_every_distribution_for_every_group(root, model):
    groups = {"all", "head", "medium", "tail", *(f"class:{k}" for k in range(10))}
    for latent in ("reconstruction", "prior", "alternative", "fitted"):
        for name in ("frechet_distance_classifier", "kid", "coverage"):
            assert set(values_of(root, model, name, latent)) == groups, (name, latent)
    errors = values_of(root, model, "reconstruction_error", "reconstruction")
    assert set(errors) == groups
    samples = files.read_tensors(layout.under(root, layout.samples(EXPERIMENT, model, 0)))
    test = files.read_npy(layout.under(root, layout.prepared("digits_lt", "test.npy")))
    gaps = samples["reconstructions"].astype(float) - test[: len(samples["reconstructions"])]
    assert errors["all"] == pytest.approx(np.square(gaps / 255).sum((1, 2, 3)).mean(), rel=1e-5)


def test_classes_of_draws_are_asked_for_or_seen(root):
    asked = values_of(root, "c_t3vae_nu10", "class_f1", "prior")
    assert set(asked) >= {"all", "tail", "class:9"}
    not_asked = values_of(root, "beta_vae_matched", "class_f1", "prior")
    assert not_asked == {"all": None}
    mass = values_of(root, "beta_vae_matched", "class_mass", "prior")
    assert sum(v for g, v in mass.items() if g.startswith("class:")) == pytest.approx(1)
    protocols = {
        model: next(
            e["protocol"]
            for e in entries(root, model)
            if e["name"] == "kid" and e["latent"] == "prior" and e["group"] == "tail"
        )
        for model in MODELS
    }
    assert "as the classifier sees them" in protocols["beta_vae_matched"]
    assert "asked of the model" in protocols["c_t3vae_nu10"]


def test_fid_without_weights_has_a_reason_and_the_rest_goes_on(root):
    found = [e for e in entries(root, "beta_vae_matched") if e["name"] == "fid"]
    assert {e["latent"] for e in found} == {"reconstruction", "prior", "alternative", "fitted"}
    assert all(e["value"] is None and "inception.weights" in e["reason"] for e in found)
    missing = read_table(layout.under(root, layout.table(EXPERIMENT, "missing.csv")))
    assert "fid" in set(missing["metric"])


def test_fid_with_weights_stands_beside_the_other_numbers(root, tmp_path, monkeypatch):
    """Made-up weights in the published format; images at 75 pixels, to be quick."""
    monkeypatch.setattr(inception, "SIDE", 75)
    net = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    weights = tmp_path / "weights.pth"
    torch.save(net.state_dict(), weights, _use_new_zipfile_serialization=False)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    given = {"weights": str(weights), "sha256": digest, "download": False}
    job = plan_of(tmp_path, small()).evaluate(EXPERIMENT, "beta_vae_matched", 0)
    config = {**job.config, "extractors": {**job.config["extractors"], "inception": given}}
    path = layout.under(root, job.witness)
    kept, before = path.read_bytes(), entries(root, "beta_vae_matched")
    try:
        evaluate.run(root, config, *job.names.values())
        after = entries(root, "beta_vae_matched")
    finally:
        path.write_bytes(kept)
    found = [e for e in after if e["name"] == "fid"]
    assert {e["latent"] for e in found} == {"reconstruction", "prior", "alternative", "fitted"}
    assert {"all", "tail", "class:9"} <= {e["group"] for e in found}
    assert all(e["value"] > 0 for e in found if e["group"] == "all")
    for e in found:
        assert "Inception-v3" in e["protocol"]
        if e["value"] is None:
            assert e["n"] < 2 and "at least 2" in e["reason"]
        else:
            assert e["n"] > 1 and "2048 features" in e["flag"]
    others = [[e for e in part if e["name"] != "fid"] for part in (before, after)]
    assert others[0] == others[1] and "frechet_distance_classifier" in {
        e["name"] for e in others[0]
    }


def test_few_images_are_flagged(root):
    flagged = [e for e in entries(root, "beta_vae_matched") if e.get("flag")]
    assert {e["name"] for e in flagged} == {"frechet_distance_classifier"}
    assert any(e["group"].startswith("class:") for e in flagged)


def test_latent_space(root):
    units = values_of(root, "beta_vae_matched", "active_units", "prior")
    assert 0 <= units["all"] <= 8
    radius = values_of(root, "c_t3vae_nu10", "latent_radius", "alternative")
    assert radius["all"] > 0 and "class:0" in radius


def one_of_each_family() -> list[str]:
    """The first model of each family in the experiment on digits."""
    first = {}
    for name in EXPANDED["experiments"]["digits_lt"]["models"]:
        first.setdefault(EXPANDED["models"][name]["family"], name)
    return list(first.values())


@pytest.fixture(scope="module")
def families(root, tmp_path_factory) -> Plan:
    """The plan of one model of each family, in a folder with data."""
    folder = tmp_path_factory.mktemp("families")
    shutil.copytree(root / "data", folder / "data")
    values = small()
    values["experiments"][EXPERIMENT].update(
        models=one_of_each_family(),
        metrics=["reconstruction_error", "active_units", "latent_radius", "entropy_weight"],
        figures=["history"],
        controls={},
        control=None,
    )
    plan = plan_of(folder, values)
    plan.folder = folder
    return plan


@pytest.mark.parametrize("model", one_of_each_family())
def test_latent_space_of_every_family(families, model):
    for verb in ("train", "sample", "evaluate"):
        job = getattr(families, verb)(EXPERIMENT, model, 0)
        STAGES[verb].run(families.folder, dict(job.config), EXPERIMENT, model, 0)
    units = values_of(families.folder, model, "active_units", "prior")["all"]
    assert 0 <= units <= 16 and units == int(units)
    weight = values_of(families.folder, model, "entropy_weight", "reconstruction")["all"]
    if model.startswith("t3hvae"):
        assert weight is None
    elif "t3vae" in model:
        assert 0 < weight < 1
    else:
        assert weight == 1


def test_evaluation_is_the_same_again(root):
    plan = plan_of(root, small())
    job = plan.evaluate(EXPERIMENT, "c_t3vae_nu10", 0)
    path = layout.under(root, job.witness)
    before = path.read_bytes()
    evaluate.run(root, dict(job.config), *job.names.values())
    assert path.read_bytes() == before


def test_samples_of_another_kind_are_refused(root, tmp_path):
    job = plan_of(tmp_path, small()).evaluate(EXPERIMENT, "beta_vae_matched", 0)
    path = layout.under(root, layout.samples(EXPERIMENT, "beta_vae_matched", 0))
    kept = path.read_bytes()
    tensors = files.read_tensors(path)
    tensors["samples/prior"] = tensors["samples/prior"].astype(np.float32)
    files.write_tensors(path, tensors)
    try:
        with pytest.raises(DataError, match="samples/prior is float32"):
            evaluate.run(root, dict(job.config), *job.names.values())
    finally:
        path.write_bytes(kept)


# --- the plan -----------------------------------------------------------------------------


def codes(plan: Plan) -> dict[str, tuple[str, str]]:
    return {job.label: (job.json, job.code) for job in plan.jobs()}


def changed(tmp_path: Path, place: str, value) -> set[str]:
    values = small()
    *parents, last = place.split(".")
    block = values
    for part in parents:
        block = block[part]
    before = codes(plan_of(tmp_path, small()))
    block[last] = value
    after = codes(plan_of(tmp_path, values))
    return {
        label for label in before.keys() | after.keys() if before.get(label) != after.get(label)
    }


def runs(*verbs: str) -> set[str]:
    return {f"{verb} {EXPERIMENT} {model} 0" for verb in verbs for model in MODELS}


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("extractors.digits_lt.epochs", 5, {"extractor digits_lt"}),
        ("evaluation.digits.kid.subsets", 5, runs("evaluate")),
        ("inception.sha256", "0" * 64, runs("evaluate")),
        (f"experiments.{EXPERIMENT}.resources", {"mem_mb": 9000}, set()),
        (
            f"experiments.{EXPERIMENT}.controls",
            {"c_t3vae_nu10": ["beta_vae_matched"]},
            {f"collect {EXPERIMENT}"},
        ),
        ("training.digits_smoke.epochs", 3, runs("train")),
    ],
)
def test_a_change_reaches_its_jobs(tmp_path, place, value, expected):
    """Jobs that follow see changed inputs; here only their own settings count."""
    assert changed(tmp_path, place, value) == expected


def test_evaluation_waits_for_the_extractor(tmp_path):
    plan = plan_of(tmp_path, small())
    job = plan.evaluate(EXPERIMENT, "beta_vae_matched", 0)
    assert set(layout.extractor("digits_lt")) <= set(job.inputs)
    assert plan.extractor("digits_lt").inputs == (layout.manifest("digits_lt"),)
    values = small()
    values["experiments"][EXPERIMENT]["metrics"] = ["reconstruction_error", "fid"]
    plan = plan_of(tmp_path, values)
    assert "extractor" not in {job.verb for job in plan.jobs()}
    job = plan.evaluate(EXPERIMENT, "beta_vae_matched", 0)
    assert not set(layout.extractor("digits_lt")) & set(job.inputs)
    assert list(job.config["extractors"]) == ["inception"]


def modules(config: dict, verb: str = "evaluate") -> set[str]:
    return set(closure.modules(closure.start(verb, config)))


def test_numbers_do_not_depend_on_the_code_of_images():
    params = parameters.load(CHECKOUT / "params.yaml")
    of_numbers = modules(jobs.config("evaluate", params, "univariate", "vae", 0))
    of_images = modules(jobs.config("evaluate", params, "digits_lt", "vae", 0))
    own = {"t3vae.stages.evaluate_images", "t3vae.metrics.kid", "t3vae.extractors.classifier"}
    assert own <= of_images and not own & of_numbers
    assert "t3vae.extractors.inception" not in of_images
    paper = modules(jobs.config("evaluate", params, "cifar10_lt", "vae", 0))
    assert "t3vae.extractors.inception" in paper
    tables = modules(jobs.config("collect", params, "digits_lt"), "collect")
    assert "t3vae.tables.image_tables" in tables
    assert "t3vae.tables.image_tables" not in modules(
        jobs.config("collect", params, "univariate"), "collect"
    )


def test_code_of_an_extractor_is_in_its_digest(tmp_path):
    """Digests come from files beside the package: read in a copy, in a fresh interpreter."""
    import subprocess
    import sys

    folder = copy_code(tmp_path / "copy")
    script = (
        "from t3vae.provenance import digests\n"
        "from t3vae.workflow import jobs\nfrom t3vae.settings import parameters\n"
        "p = parameters.load('params.yaml')\n"
        "c = jobs.config('extractor', p, 'digits_lt')\n"
        "e = jobs.config('evaluate', p, 'digits_lt', 'vae', 0)\n"
        "print(digests.source_digest('extractor', c), digests.source_digest('evaluate', e))"
    )

    def found() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=folder,
            env={"PYTHONPATH": str(folder / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    before = found()
    append(folder / "src/t3vae/extractors/inception.py", "EDITED = True")
    assert found() == before
    append(folder / "src/t3vae/metrics/kid.py", "EDITED = True")
    assert found()[0] == before[0] and found()[1] != before[1]
    append(folder / "src/t3vae/extractors/classifier.py", "EDITED = True")
    assert found()[0] != before[0]


def test_the_paper_suite_lists_faces_and_every_imbalance_with_resources():
    params = parameters.load(CHECKOUT / "params.yaml", {"suite": "paper"})
    plan = Plan(params)
    labels = {job.label for job in plan.jobs()}
    for name in ("celeba", "cifar10_lt", *(f"cifar100_lt_{i}" for i in (1, 10, 50, 100))):
        assert f"extractor {name}" in labels
        for control in ("beta_vae_matched", "beta_vae_matched_scaled"):
            assert f"train {name} {control} 2" in labels
    assert "train celeba c_t3vae_nu10 0" not in labels  # faces have no classes
    assert plan.resources("train", "celeba") == {"mem_mb": 32000, "runtime": 4320}
    assert plan.resources("sample", "univariate") == {"mem_mb": 4000, "runtime": 120}
    assert plan.data_resources("prepare", "celeba")["mem_mb"] == 32000
    assert plan.data_resources("prepare", "univariate") == {"mem_mb": 2000, "runtime": 60}
    # weights of the full network are most of what a run leaves: 50.7 million numbers
    config = plan.train("cifar10_lt", "vae", 0).config
    assert disk._weights(config["network"]) == pytest.approx(4 * 50.7e6, rel=0.02)


def test_controls_are_in_every_experiment_on_images():
    params = parameters.load(CHECKOUT / "params.yaml")
    for name, entry in params.experiments.items():
        if entry.models and jobs.of_images(params, entry.dataset) and name != EXPERIMENT:
            assert {"beta_vae_matched", "beta_vae_matched_scaled"} <= set(entry.models)
            for model in entry.models:
                if "t3" in model:
                    assert any("matched" in c for c in entry.controls[model]), (name, model)


# --- mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("experiments.digits_smoke.metrics", ["ks"], "cannot judge data of source `digits`"),
        ("experiments.univariate.metrics", ["kid"], "cannot judge data of source `t_mixture_1d`"),
        ("extractors.digits", {}, "not a data set. Did you mean digits_lt?"),
        ("extractors.univariate", {}, "which has no images"),
        ("experiments.digits_smoke.figures", ["heatmaps"], "cannot show data of source `digits`"),
        (
            "experiments.digits_smoke.controls",
            {"beta_vae_matched": ["beta_vae_matched"]},
            "the model itself",
        ),
        ("experiments.digits_smoke.controls", {"vea": ["c_t3vae_nu10"]}, "Did you mean vae?"),
        ("inception.weights", "w.pth", "inception.sha256: is missing"),
        ("inception.sha256", "abc", "inception.sha256"),
        ("evaluation.digits.kid.features", "vgg", "evaluation.digits.kid.features"),
    ],
)
def test_mistakes_are_named(tmp_path, place, value, message):
    values = copy.deepcopy(EXPANDED)
    *parents, last = place.split(".")
    block = values
    for part in parents:
        block = block.setdefault(part, {})
    block[last] = value
    with pytest.raises(ConfigError) as caught:
        plan_of(tmp_path, values)
    assert any(message in problem for problem in caught.value.problems), caught.value.problems


def test_a_missing_extractor_is_a_mistake(tmp_path):
    values = copy.deepcopy(EXPANDED)
    del values["extractors"]["digits_lt"]
    with pytest.raises(ConfigError, match=r"Add extractors\.digits_lt"):
        plan_of(tmp_path, values)


def test_configurations_are_json(tmp_path):
    plan = plan_of(tmp_path, small())
    for job in plan.jobs():
        assert json.loads(job.json) == json.loads(digests.canonical_json(job.config))
