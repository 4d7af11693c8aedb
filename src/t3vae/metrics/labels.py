"""How each metric is called in figures and tables, and which way is better."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["METRICS", "Label"]


class Label(NamedTuple):
    """Axis text of a metric and its direction.

    ``direction`` is ``lower`` or ``higher`` (is better), ``one`` (the truth is 1), or
    ``none`` (compare with the value of the true sample).
    """

    label: str
    direction: str


METRICS: dict[str, Label] = {
    "mmd_linear": Label("linear-time MMD²", "lower"),
    "mmd": Label("unbiased MMD²", "lower"),
    "ks": Label("Kolmogorov–Smirnov distance", "lower"),
    "anderson_darling": Label("Anderson–Darling A²", "lower"),
    "ksd": Label("kernel Stein discrepancy (squared)", "lower"),
    "tail_mass_ratio": Label("tail mass / true tail mass", "one"),
    "tail_quantile_error": Label("relative error of tail quantile", "lower"),
    "hill": Label("Hill tail index", "none"),
    "hill_reference": Label("Hill tail index of the true sample", "none"),
    "expected_shortfall": Label("relative error of expected shortfall", "lower"),
    "log_likelihood": Label("test log-likelihood (nats)", "higher"),
    "log_likelihood_ess": Label("effective number of importance samples", "higher"),
    "log_likelihood_true": Label("mean true log density (nats)", "none"),
    "reconstruction_error": Label("mean squared reconstruction error", "lower"),
    "frechet_distance_classifier": Label("Fréchet distance (classifier features)", "lower"),
    "fid": Label("FID", "lower"),
    "kid": Label("kernel distance of features (KID)", "lower"),
    "precision": Label("precision", "higher"),
    "recall": Label("recall", "higher"),
    "density": Label("density", "higher"),
    "coverage": Label("coverage", "higher"),
    "class_f1": Label("F1 of the class asked for", "higher"),
    "class_mass": Label("share of images in a class", "none"),
    "active_units": Label("active latent coordinates", "none"),
    "latent_radius": Label("median norm of encodings / of the distribution", "one"),
    "entropy_weight": Label("weight of the encoder's entropy", "none"),
}
