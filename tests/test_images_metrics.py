"""Metrics of images against definitions written out anew, closed cases and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from t3vae import metrics
from t3vae.errors import DataError, MetricError
from t3vae.extractors import classifier, load
from t3vae.metrics import frechet, kid, latent_space, manifold, per_class
from t3vae.metrics.features import Features, few_points
from t3vae.runtime import files
from t3vae.settings.metrics import METRICS


def normal(seed: int, n: int, d: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    mix = np.random.default_rng(99).normal(size=(d, d)) / np.sqrt(d)
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d)) @ mix


def by_definition(a: np.ndarray, b: np.ndarray) -> float:
    """The formula with SciPy's matrix root, in its usual implementation."""
    s1, s2 = np.cov(a.T), np.cov(b.T)
    root = sqrtm(s1 @ s2)
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(s1) + np.trace(s2) - 2 * np.trace(root.real))


# --- Frechet distance ---------------------------------------------------------------------


@pytest.mark.parametrize("d", [3, 16, 64])
def test_frechet_agrees_with_the_matrix_root(d):
    a, b = normal(0, 500, d), normal(1, 700, d, shift=0.3, scale=1.2)
    expected = by_definition(a, b)
    streamed = frechet.Statistics.of(a, block=37).distance(frechet.Statistics.of(b, block=64))
    assert streamed == pytest.approx(expected, rel=1e-6)
    assert frechet.frechet_distance_of_points(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_few_points_agrees_with_a_small_eigenproblem():
    """Fewer points than features: tr (S1 S2)^(1/2) from the 7 x 7 matrix that is not zero."""
    d, n, m = 40, 7, 12
    a, b = normal(0, n, d), normal(1, m, d, shift=0.2)
    ca, cb = a - a.mean(0), b - b.mean(0)
    small = (ca @ cb.T) @ (ca @ cb.T).T / ((n - 1) * (m - 1))
    root = np.sqrt(np.clip(np.linalg.eigvalsh(small), 0, None)).sum()
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + (ca**2).sum() / (n - 1) + (cb**2).sum() / (m - 1) - 2 * root
    assert frechet.frechet_distance_of_points(a, b) == pytest.approx(expected, rel=1e-6)
    both = frechet.Statistics.of(a).distance(frechet.Statistics.of(b))
    assert both == pytest.approx(expected, rel=1e-6)
    large = normal(2, 300, d)
    mixed = frechet.Statistics.of(a).distance(frechet.Statistics.of(large))
    assert frechet.frechet_distance_of_points(a, large) == pytest.approx(mixed, rel=1e-6)


def test_frechet_where_a_feature_is_always_zero():
    """A dead unit of a network: both covariances have a row of zeros."""
    a, b = normal(0, 200, 8), normal(1, 200, 8, scale=1.5)
    expected = by_definition(a, b)
    a, b = (np.column_stack([x, np.zeros(len(x))]) for x in (a, b))
    found = frechet.Statistics.of(a).distance(frechet.Statistics.of(b))
    assert found == pytest.approx(expected, rel=1e-6)


def test_streamed_statistics_keep_the_covariance_of_a_large_mean():
    points = 1e6 + np.random.default_rng(0).normal(size=(4000, 3))
    found = frechet.Statistics.of(points, block=100)
    assert found.count == 4000
    np.testing.assert_allclose(found.covariance, np.cov(points.T), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.mean, points.mean(0), rtol=1e-14)


def test_statistics_refuse_what_is_no_feature():
    found = frechet.Statistics(3)
    with pytest.raises(MetricError, match="in the blocks before"):
        found.update(np.zeros((2, 4)))
    with pytest.raises(MetricError, match="not numbers"):
        found.update(np.full((2, 3), np.nan))
    with pytest.raises(MetricError, match="at least 2"):
        _ = frechet.Statistics.of(np.zeros((1, 3))).covariance
    with pytest.raises(MetricError, match="one extractor"):
        frechet.Statistics.of(np.eye(3)).distance(frechet.Statistics.of(np.eye(2)))


# --- KID ----------------------------------------------------------------------------------


def test_kid_agrees_with_double_loops():
    a, b = normal(0, 9, 4), normal(1, 7, 4, shift=0.5)

    def k(x, y):
        return (x @ y / 4 + 1) ** 3

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(k(x, y) for x in a for y in b) / (n * m)
    assert kid.polynomial_mmd(a, b) == pytest.approx(within_a + within_b - 2 * between, rel=1e-12)


def test_kid_is_unbiased_and_its_error_is_honest():
    """Under equal distributions the mean is within a few of its standard errors of zero, mostly."""
    z = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, 300, 3))
        values, disjoint = kid.subset_estimates(a, b, 50, 12, rng)
        assert disjoint == 6 and len(values) == 12
        z.append(values.mean() / (values.std(ddof=1) / np.sqrt(disjoint)))
    assert np.mean(np.abs(z) > 2.6) < 0.15
    assert abs(np.mean(z)) < 4 / np.sqrt(40)


# --- precision, recall, density, coverage -------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5])
def test_overlap_agrees_with_whole_distance_matrices(k):
    x, y = normal(0, 150, 6), normal(1, 130, 6, shift=0.4, scale=0.8)
    inner = np.sort(cdist(x, x), axis=1)[:, k]  # column 0 is the point itself
    own = np.sort(cdist(y, y), axis=1)[:, k]
    gaps = cdist(x, y)
    expected = (
        (gaps <= inner[:, None]).any(0).mean(),
        (gaps <= own[None]).any(1).mean(),
        (gaps <= inner[:, None]).sum() / (k * len(y)),
        (gaps <= inner[:, None]).any(1).mean(),
    )
    assert manifold.overlap(x, y, k, block=17) == pytest.approx(expected, abs=1e-12)


def test_overlap_of_far_and_of_collapsed_sets():
    x = normal(0, 100, 4)
    assert manifold.overlap(x, x + 100.0) == (0.0, 0.0, 0.0, 0.0)
    collapsed = x[:1] + 1e-6 * normal(1, 100, 4)
    found = manifold.overlap(x, collapsed)
    assert found.precision == 1.0 and found.coverage < 0.3 and found.recall < 0.05


def test_neighbours_are_others():
    with pytest.raises(MetricError, match="N > k"):
        manifold.neighbour_radii(np.zeros((3, 2)), 3)
    assert manifold.neighbour_radii(np.zeros((3, 2)), 2).tolist() == [0.0, 0.0, 0.0]


# --- classes and latent space -------------------------------------------------------------


def test_f1_agrees_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 400))
    expected = sklearn.f1_score(a, b, average=None)
    np.testing.assert_allclose(per_class.f1_scores(a, b, 5), expected)
    assert np.isnan(per_class.f1_scores(a, b, 6)[5])


def test_reconstruction_error_of_uint8_images_does_not_wrap_around():
    a = np.full((3, 1, 2, 2), 250, np.uint8)
    b = np.array([250, 5, 0], np.uint8).reshape(3, 1, 1, 1) * np.ones((1, 1, 2, 2), np.uint8)
    groups = {"all": np.arange(3), "class:0": np.array([1]), "class:1": np.array([], int)}
    whole, one, none = per_class.error_entries(a, b, groups, 255.0)
    each = 4 * np.array([0.0, 245.0**2, 250.0**2]) / 255.0**2
    assert whole["value"] == pytest.approx(each.mean(), rel=1e-6)
    assert one["value"] == pytest.approx(each[1], rel=1e-6) and "se" not in one
    assert none["value"] is None and "class:1" in none["reason"]


def test_active_units_do_not_depend_on_the_latent_scale():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(2000, 4)) * [1.0, 0.5, 0.01, 0.0]
    for scale in (1.0, 0.24):
        distribution = scale * rng.normal(size=(4000, 4))
        (found,) = latent_space.unit_entries(scale * means, distribution)
        assert found["value"] == 2.0


def test_radius_is_relative_to_the_distribution():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(4000, 8))
    groups = {"all": np.arange(4000), "class:0": np.array([], int)}
    found = latent_space.radius_entries(0.5 * z, rng.normal(size=(4000, 8)), groups)
    assert found[0]["value"] == pytest.approx(0.5, rel=0.02) and found[1]["value"] is None


def test_entropy_weight_is_the_mean_factor_and_has_a_reason_where_there_is_none():
    (found,) = latent_space.entropy_entries(np.array([0.9, 0.94]))
    assert found["value"] == pytest.approx(0.92) and found["n"] == 2
    (none,) = latent_space.entropy_entries(None)
    assert none["value"] is None and "level" in none["reason"]


def test_attributes_make_groups():
    table = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
    found = per_class.attribute_groups(table, ["Bald", "Young"])
    assert found["attribute:Bald"].tolist() == [0, 2]
    assert found["attribute:not_Young"].tolist() == [0]


# --- entries ------------------------------------------------------------------------------


def features(seed: int, n: int = 120, shift: float = 0.0, **more) -> Features:
    labels = np.arange(n) % 3
    groups = per_class.class_groups(labels, 3, {"head": [0], "tail": [1, 2]})
    return Features(normal(seed, n, 10, shift), "made up", groups=groups, labels=labels, **more)


OPTIONS = {"kid": {"subset_size": 20, "subsets": 5}, "precision": {"neighbours": 3, "points": 50}}


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.of == "features"]
)
def test_every_metric_of_features_says_n_and_protocol_for_every_group(name):
    reference, sample = features(0), features(1, predicted=np.arange(120) % 3)
    found = metrics.evaluate(name, sample, reference, OPTIONS, np.random.default_rng(0))
    groups = {"all", "class:0", "class:1", "class:2", "head", "tail"}
    assert {item["group"] for item in found} == groups - (
        {"all"} if name == "class_mass" else set()
    )
    for item in found:
        assert item["value"] is not None and item["n"] > 0 and "made up" in item["protocol"]


def test_few_images_are_flagged_and_too_few_have_a_reason():
    reference = features(0)
    sample = Features(normal(1, 15, 10), "made up", groups={"class:0": np.array([3])})
    found = metrics.evaluate(
        "frechet_distance_classifier", sample, reference, {}, np.random.default_rng(0)
    )
    whole, one = found
    assert whole["value"] > 0 and "below twice" in whole["flag"]
    assert one["value"] is None and "at least 2" in one["reason"]
    assert few_points(20, 10) is None and few_points(19, 10)


def test_f1_needs_a_model_that_was_asked_for_classes():
    reference = features(0)
    sample = Features(normal(1, 60, 10), "made up", predicted=np.zeros(60, int))
    (found,) = metrics.evaluate("class_f1", sample, reference, {}, np.random.default_rng(0))
    assert found["value"] is None and "not conditional" in found["reason"]
    mass = metrics.evaluate("class_mass", sample, reference, {}, np.random.default_rng(0))
    assert {m["group"]: m["value"] for m in mass} == {
        "class:0": 1.0, "class:1": 0.0, "class:2": 0.0, "head": 1.0, "tail": 0.0
    }  # fmt: skip


def test_the_reference_is_summarised_once(monkeypatch):
    made = []
    original = frechet.Statistics.of.__func__
    monkeypatch.setattr(
        frechet.Statistics,
        "of",
        classmethod(lambda cls, points: made.append(len(points)) or original(cls, points)),
    )
    reference = features(0)
    for seed in (1, 2, 3):
        metrics.evaluate(
            "frechet_distance_classifier", features(seed), reference, {}, np.random.default_rng(0)
        )
    groups = len(reference.groups)
    assert len(made) == groups + 3 * groups


# --- extractors ---------------------------------------------------------------------------

SETTINGS = {
    "width": 4, "features": 16, "epochs": 8, "batch_size": 16, "learning_rate": 1e-2,
    "weight_decay": 0.0, "seed": 0,
}  # fmt: skip


def stripes(n: int, seed: int = 0) -> classifier.Data:
    """Images with bright rows (class 0) or bright columns (class 1)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = rng.integers(0, 60, (n, 1, 8, 8))
    for i in range(n):
        line = rng.integers(8)
        if labels[i]:
            images[i, :, :, line] += 180
        else:
            images[i, :, line, :] += 180
    return classifier.Data(images.astype(np.uint8), labels)


def test_classifier_learns_and_is_the_same_again(tmp_path):
    data = stripes(128)
    nets = [classifier.train(data, SETTINGS) for _ in range(2)]
    assert classifier.accuracy(nets[0], stripes(64, seed=1))["all"] > 0.9
    for i, net in enumerate(nets):
        classifier.save(net, tmp_path / str(i) / classifier.FILE, {"targets": "classes"})
    first, second = (tmp_path / str(i) / classifier.FILE for i in range(2))
    assert first.read_bytes() == second.read_bytes()
    loaded = load("classifier", {}, first.parent)
    found = loaded.extract(data.images)
    assert found.features.shape == (128, 16) and found.features.dtype == np.float32
    x = torch.from_numpy(data.images).float() / 255
    with torch.no_grad():
        expected = nets[0].eval()(x).argmax(1).numpy()
    np.testing.assert_array_equal(found.predicted, expected)


def test_classifier_of_attributes_sees_no_class(tmp_path):
    data = stripes(64)
    attributes = np.column_stack([data.targets, 1 - data.targets, np.ones(64, int)])
    net = classifier.train(data._replace(targets=attributes.astype(np.uint8)), SETTINGS, flip=True)
    assert classifier.accuracy(net, data._replace(targets=attributes))["all"] > 0.8
    classifier.save(net, tmp_path / classifier.FILE, {"targets": "attributes"})
    assert load("classifier", {}, tmp_path).extract(data.images).predicted is None


def test_missing_and_damaged_classifiers(tmp_path):
    with pytest.raises(DataError, match="t3vae extractor --dataset"):
        load("classifier", {}, tmp_path / "digits_lt")
    files.write_tensors(tmp_path / classifier.FILE, {"x": np.zeros(2, np.float32)}, {})
    with pytest.raises(DataError, match="not the weights of a classifier"):
        load("classifier", {}, tmp_path)
