"""The exact synthetic targets, against quadrature, SciPy, mpmath and Monte Carlo."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from t3vae import datasets
from t3vae.datasets.bivariate import BIVARIATE, BivariateTMixture
from t3vae.datasets.synthetic import UNIVARIATE, UnivariateTMixture
from t3vae.errors import ConfigError, DataError
from t3vae.runtime import files

WIDE = [
    {"weight": 0.2, "mean": -30.0, "scale": 9.0, "nu": 2.5},
    {"weight": 0.5, "mean": 0.5, "scale": 0.04, "nu": 7.0},
    {"weight": 0.3, "mean": 10.0, "scale": 1.0, "nu": 60.0},
]


def scipy_pdf(components, x):
    return sum(
        c["weight"] * stats.t.pdf(x, c["nu"], c["mean"], math.sqrt(c["scale"])) for c in components
    )


def mp_sf(components, x):
    """Survival function in 40 digits."""
    total = mpmath.mpf(0)
    for c in components:
        u = (mpmath.mpf(x) - c["mean"]) / mpmath.sqrt(c["scale"])
        nu = mpmath.mpf(c["nu"])
        half = mpmath.betainc(nu / 2, 0.5, 0, nu / (nu + u * u), regularized=True) / 2
        total += c["weight"] * (half if u > 0 else 1 - half)
    return total


@pytest.mark.parametrize("components", [UNIVARIATE, WIDE])
def test_univariate_density_and_distribution_agree_with_scipy(components):
    distribution = UnivariateTMixture(components)
    x = np.concatenate([np.linspace(-60, 60, 241), [-1e4, 1e4]])
    np.testing.assert_allclose(distribution.pdf(x), scipy_pdf(components, x), rtol=1e-11)
    np.testing.assert_allclose(
        distribution.log_prob(x[:, None]), np.log(distribution.pdf(x)), rtol=1e-11, atol=1e-12
    )
    for point in (-35.0, -6.0, 0.45, 6.0, 14.0, 400.0):
        with mpmath.workdps(40):
            expected = float(mp_sf(components, point))
            below = float(1 - mp_sf(components, point))
        assert float(distribution.sf(point)) == pytest.approx(expected, rel=1e-12)
        assert float(distribution.cdf(point)) == pytest.approx(below, rel=1e-12)


def test_univariate_values_of_the_paper_target():
    distribution = UnivariateTMixture()
    tails = distribution.tail_probability(6.0)
    assert tails["right_tail"] == pytest.approx(0.00221255509, abs=5e-12)
    assert tails["left_tail"] == pytest.approx(0.00319560598, abs=5e-12)
    expected = {
        1e-5: -16.54427, 1e-4: -10.88832, 1e-3: -7.30741, 1e-2: -4.92842,
        0.99: 4.60084, 0.999: 6.88117, 0.9999: 10.33309, 0.99999: 15.87660,
    }  # fmt: skip
    for p, quantile in expected.items():
        assert float(distribution.quantile(p)) == pytest.approx(quantile, abs=6e-6)
    assert distribution.tail_index == [5.0]


@pytest.mark.parametrize("components", [UNIVARIATE, WIDE])
@pytest.mark.parametrize("p", [1e-12, 1e-5, 0.01, 0.2, 0.5, 0.7000001, 0.99, 1 - 1e-9])
def test_quantile_solves_its_equation_to_1e_12(components, p):
    quantile = float(UnivariateTMixture(components).quantile(p))
    with mpmath.workdps(40):
        exact = mpmath.findroot(
            lambda x: mp_sf(components, x) - (1 - mpmath.mpf(p)),
            mpmath.mpf(quantile),
            tol=1e-50,
        )
        error = abs(float(exact - mpmath.mpf(quantile)))
    assert error <= 1e-12 * max(1.0, abs(quantile))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0.05, 1),
            st.floats(-50, 50),
            st.floats(1e-3, 1e3),
            st.floats(2.01, 1e6),
        ),
        min_size=1,
        max_size=4,
    ),
    st.floats(1e-9, 1 - 1e-9),
)
def test_quantile_inverts_the_distribution_function(rows, p):
    total = sum(row[0] for row in rows)
    distribution = UnivariateTMixture(
        [{"weight": w / total, "mean": m, "scale": s, "nu": nu} for w, m, s, nu in rows]
    )
    x = distribution.quantile(p)
    # an abscissa is known to one rounding; so is the probability, times the density
    slack = 4e-15 * max(1.0, abs(float(x))) * float(distribution.pdf(x))
    assert float(distribution.cdf(x)) == pytest.approx(p, rel=1e-10, abs=slack)
    assert float(distribution.isf(distribution.sf(x))) == pytest.approx(
        float(x), rel=1e-6, abs=1e-6
    )


def test_univariate_score_is_the_derivative_of_the_log_density():
    with mpmath.workdps(30):
        for x in (-40.0, -2.0, 0.3, 5.0, 1000.0):
            slope = mpmath.diff(
                lambda u: mpmath.log(
                    sum(
                        c["weight"]
                        * mpmath.gamma((c["nu"] + 1) / 2)
                        * (1 + (u - c["mean"]) ** 2 / c["nu"]) ** (-(c["nu"] + 1) / 2)
                        for c in UNIVARIATE
                    )
                ),
                x,
            )
            assert float(UnivariateTMixture().score([x])[0]) == pytest.approx(
                float(slope), rel=1e-10
            )
    assert UnivariateTMixture().score(np.zeros((3, 1))).shape == (3, 1)
    np.testing.assert_allclose(
        UnivariateTMixture().log_prob([1.5]), np.log(scipy_pdf(UNIVARIATE, 1.5))
    )


@pytest.mark.parametrize("view", ["left_tail", "right_tail"])
@pytest.mark.parametrize("components", [UNIVARIATE, WIDE])
def test_univariate_expected_shortfall_by_quadrature(view, components):
    distribution, p = UnivariateTMixture(components), 0.003
    sign = -1 if view == "left_tail" else 1
    q = distribution.tail_quantile(view, p)
    parts = [q, 2 * q, 10 * q, 100 * q, 1e4 * q, 1e8 * q]
    moment = sum(
        integrate.quad(lambda y: y * scipy_pdf(components, sign * y), a, b, epsabs=0)[0]
        for a, b in itertools.pairwise(parts)
    )
    assert distribution.tail_mean(view, p) == pytest.approx(moment / p, rel=1e-6)


def test_univariate_sample_follows_the_distribution_in_random_order():
    distribution = UnivariateTMixture(WIDE)
    x = distribution.sample(20_000, np.random.default_rng(3))
    assert x.shape == (20_000, 1)
    assert stats.kstest(x[:, 0], distribution.cdf).pvalue > 1e-3
    # the components are shuffled: halves follow the same distribution
    assert stats.ks_2samp(x[:10_000, 0], x[10_000:, 0]).pvalue > 1e-3


@pytest.mark.parametrize(
    "components",
    [
        [],
        [{"weight": 0.5, "mean": 0.0, "scale": 1.0, "nu": 5.0}],
        [{"weight": 1.0, "mean": 0.0, "scale": 0.0, "nu": 5.0}],
        [{"weight": 1.0, "mean": math.nan, "scale": 1.0, "nu": 5.0}],
    ],
)
def test_components_that_make_no_distribution_are_refused(components):
    with pytest.raises(ConfigError, match="components"):
        UnivariateTMixture(components)


def test_probabilities_outside_the_unit_interval_are_refused():
    for p in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ConfigError, match="probability"):
            UnivariateTMixture().quantile(p)
    with pytest.raises(ConfigError, match="view"):
        UnivariateTMixture().tail_quantile("norm", 0.1)


# --- bivariate -----------------------------------------------------------------------------


def quad_pdf(a, b):
    """Density of the default bivariate target by adaptive quadrature over X."""

    def integrand(x):
        noise = stats.multivariate_t.pdf(
            [a - x, b - x - 2 * math.sin(math.pi * x / 4)], shape=np.eye(2), df=6
        )
        return scipy_pdf(BIVARIATE, x) * noise

    foci = sorted({a, b, -2.0, 2.0})
    edges = sorted({f + step for f in foci for step in (-200, -20, -6, -2, 0, 2, 6, 20, 200)})
    return sum(
        integrate.quad(integrand, low, high, epsabs=0, epsrel=1e-11, limit=200)[0]
        for low, high in itertools.pairwise(edges)
    )


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize(
    "point",
    [(0.0, 0.0), (-2.0, -3.5), (2.3, 5.1), (10.0, -10.0), (63.0, 61.0), (90.0, 70.0)],
)
def test_bivariate_density_by_adaptive_quadrature(point):
    assert BivariateTMixture().pdf(point)[0] == pytest.approx(quad_pdf(*point), rel=2e-9)


def test_bivariate_density_does_not_depend_on_its_neighbours():
    distribution = BivariateTMixture()
    points = np.array([[0.1, 0.2], [-60.0, 60.0], [500.0, 500.0], [3.0, -7.0], [64.5, 64.0]])
    alone = np.concatenate([distribution.pdf(p[None]) for p in points])
    np.testing.assert_allclose(distribution.pdf(points), alone, rtol=1e-9)


def test_bivariate_first_column_has_the_right_marginal():
    distribution = BivariateTMixture()
    for a in (-6.0, 0.5):
        # integrate over b, with nodes that the class does not choose
        b = np.linspace(-57.5, 57.5, 2301)
        ours = integrate.simpson(distribution.pdf(np.stack([np.full_like(b, a), b], axis=1)), x=b)
        marginal = integrate.quad(
            lambda x, a=a: scipy_pdf(BIVARIATE, x) * stats.t.pdf(a - x, 6),
            -200,
            200,
            points=[a, -2, 2],
            limit=400,
        )[0]
        assert ours == pytest.approx(marginal, rel=1e-6)


def test_bivariate_score_is_the_gradient_of_the_log_density():
    distribution = BivariateTMixture()
    points = np.array([[0.0, 0.0], [-4.0, -1.0], [15.0, 20.0], [80.0, 75.0]])
    h = 1e-4
    for column in (0, 1):
        shift = h * np.eye(2)[column]
        slope = (distribution.log_prob(points + shift) - distribution.log_prob(points - shift)) / (
            2 * h
        )
        np.testing.assert_allclose(
            distribution.score(points)[:, column], slope, rtol=1e-5, atol=1e-7
        )


def test_bivariate_masses_agree_with_the_density():
    """Boundary integrals against the density integrated over disc and half disc."""
    distribution, r = BivariateTMixture(), 5.0
    nodes, weights = np.polynomial.legendre.leggauss(80)
    radius, radial = r * (nodes + 1) / 2, r / 2 * weights
    halves = {}
    for name, start in (("right", -np.pi / 2), ("left", np.pi / 2)):
        angle, angular = start + np.pi * (nodes + 1) / 2, np.pi / 2 * weights
        grid = np.stack(
            [
                np.outer(radius, np.cos(angle)).ravel(),
                np.outer(radius, np.sin(angle)).ravel(),
            ],
            1,
        )
        halves[name] = float((radial * radius) @ distribution.pdf(grid).reshape(80, 80) @ angular)
    assert distribution.norm_sf(r) == pytest.approx(1 - halves["left"] - halves["right"], abs=1e-9)
    left_plane = integrate.quad(
        lambda x: scipy_pdf(BIVARIATE, x) * stats.t.cdf(-x, 6),
        -500,
        500,
        points=[-2, 2],
        limit=400,
    )[0]
    tails = distribution.tail_probability(r)
    assert tails["left_tail"] == pytest.approx(left_plane - halves["left"], abs=1e-8)
    assert tails["right_tail"] == pytest.approx(1 - left_plane - halves["right"], abs=1e-8)


def test_bivariate_sample_follows_the_distribution():
    distribution = BivariateTMixture()
    n = 400_000
    points = distribution.sample(n, np.random.default_rng(5))
    norms = np.hypot(*points.T)
    for p in (0.3, 0.01, 0.001):
        count = int((norms > distribution.norm_quantile(p)).sum())
        assert abs(count - n * p) < 4.5 * math.sqrt(n * p)
    far = norms > 5
    for name, side in (
        ("left_tail", points[:, 0] < 0),
        ("right_tail", points[:, 0] >= 0),
    ):
        p = distribution.tail_probability(5.0)[name]
        assert abs(int((far & side).sum()) - n * p) < 4.5 * math.sqrt(n * p)
    q = distribution.norm_quantile(0.01)
    beyond = norms[norms > q]
    error = 5 * beyond.std() / math.sqrt(len(beyond))
    assert distribution.tail_mean("norm", 0.01) == pytest.approx(beyond.mean(), abs=error)
    # one chi-square for each noise vector: with X = 0, squares of both columns are dependent
    still = BivariateTMixture(
        [{"weight": 1.0, "mean": 0.0, "scale": 1e-12, "nu": 50.0}], 0.0, 8.0, 9.0
    )
    e = still.sample(200_000, np.random.default_rng(6))
    assert np.corrcoef((np.abs(e) > 2).T)[0, 1] > 0.05


def test_bivariate_expected_shortfall_by_quadrature_of_the_survival_function():
    distribution, p = BivariateTMixture(), 0.01
    q = distribution.norm_quantile(p)
    assert distribution.norm_sf(q) == pytest.approx(p, rel=1e-8)
    r = np.geomspace(q, 30 * q, 60)
    tail = integrate.simpson(
        np.array([distribution.norm_sf(v, step=0.8) for v in r]) * r, x=np.log(r)
    )
    assert distribution.tail_mean("norm", p) == pytest.approx(q + tail / p, rel=1e-3)


def test_bivariate_parameters_are_checked():
    for bad in ({"period": 0.0}, {"noise_nu": -1.0}, {"noise_scale": math.inf}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            BivariateTMixture(**bad)


# --- prepare -------------------------------------------------------------------------------


def config(**changes):
    return {
        "dataset": "tiny",
        "source": "t_mixture_1d",
        "components": UNIVARIATE,
        "train": 500,
        "validation": 300,
        "test": 400,
        "seeds": {"train": 1, "validation": 2, "test": 3},
        **changes,
    }


@pytest.mark.parametrize(("source", "columns"), [("t_mixture_1d", 1), ("t_mixture_2d", 2)])
def test_prepare_writes_arrays_and_manifest(tmp_path, source, columns):
    chosen = config(source=source)
    datasets.prepare(chosen, tmp_path / "a", {"sources": "abc"})
    manifest = files.read_json(tmp_path / "a" / "manifest.json")
    assert manifest["config"] == chosen
    assert manifest["provenance"] == {"sources": "abc"}
    assert manifest["tail_index"] == [5.0] * columns
    assert sorted(manifest["arrays"]) == sorted(datasets.names(chosen))
    for name, rows in (("train", 500), ("validation", 300), ("test", 400)):
        array = files.read_npy(tmp_path / "a" / f"{name}.npy")
        described = manifest["arrays"][f"{name}.npy"]
        assert array.dtype == np.float32
        assert described["shape"] == [rows, columns] == list(array.shape)
        assert described["min"] == float(array.min())
    datasets.prepare(chosen, tmp_path / "b", {"sources": "abc"})
    for name in ("train.npy", "test.npy", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_each_split_has_its_own_numbers(tmp_path):
    same = config(train=300, seeds={"train": 1, "validation": 1, "test": 3})
    datasets.prepare(same, tmp_path, {})
    train, validation = (files.read_npy(tmp_path / f"{s}.npy") for s in ("train", "validation"))
    assert not np.isin(train, validation).any()


def test_distribution_of_a_data_set():
    assert isinstance(datasets.load_distribution(config()), UnivariateTMixture)
    distribution = datasets.load_distribution(
        config(source="t_mixture_2d", amplitude=1.0, noise_scale=2.0)
    )
    assert (distribution.amplitude, distribution.noise_scale) == (1.0, 2.0)
    with pytest.raises(ConfigError, match="no such data source"):
        datasets.load_distribution({"source": "t_mixture_3d"})


def test_values_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    from t3vae.datasets import synthetic

    broken = {name: np.full((3, 1), np.nan, np.float32) for name in datasets.SPLITS}
    monkeypatch.setattr(
        synthetic,
        "build",
        lambda _: {"arrays": broken, "tail_index": [None], "extra": {}},
    )
    with pytest.raises(DataError, match="not a number"):
        datasets.prepare(config(), tmp_path, {})
    assert not (tmp_path / "manifest.json").exists()
