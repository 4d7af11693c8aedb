"""Curves of the theory: the regularizer, the alternative prior, the high-dimension limit.

Every number comes from :func:`t3vae.maths.constants.gamma_constants` and the closed forms of
Kim et al. 2024; nothing is drawn or trained. The curves are a data set like any other, so
that figures of theory and of experiments are made in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from t3vae.maths.constants import GammaConstants, gamma_constants, high_dimension_limit

__all__ = ["COLUMNS", "build", "regularizer"]

#: Columns of each array; nu is infinite (written as 0) for the Gaussian counterpart.
COLUMNS = {
    "regularizer": ["nu", "variance", "regularizer"],
    "tau_alpha": ["data_dim", "nu_minus_two", "tau", "alpha"],
    "high_dimension": ["nu", "data_dim", "tau_sq", "v_star", "alpha", "limit"],
}

#: Stands for an infinite nu in the array ``regularizer``.
GAUSSIAN = 0.0


def regularizer(variance: np.ndarray, constants: GammaConstants) -> np.ndarray:
    r"""Return the regularizer at mu = 0 and Sigma = variance times the identity.

    .. math::
        R_\gamma(0, s I) = v^*\big[m\,\mathrm{expm1}(\ell)
        - M\,\mathrm{expm1}(\tfrac{m}{M}\ell)\big], \qquad \ell = \log s - c

    the stable form of the regularizer of Kim et al. 2024; it is zero at log s = c.

    Args:
        variance: s, positive, any shape.
        constants: constants for (nu, n, m, sigma).

    Example:
        >>> constants = gamma_constants(nu=5.0, n=1, m=1, sigma=1.0)
        >>> [round(float(r), 6) for r in regularizer(np.array([0.05, 1.0]), constants)]
        [0.653409, 0.136615]
    """
    shifted = np.log(variance) - constants.shift
    joint = np.expm1(constants.m * shifted / constants.order)
    value = constants.m * np.expm1(shifted) - constants.order * joint
    return np.asarray(constants.v_star * value)


def build(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of all theory curves, rows sorted by curve and abscissa.

    Args:
        config: the blocks ``regularizer``, ``tau_alpha`` and ``high_dimension``.
    """
    arrays = {
        "regularizer": _regularizer_curves(config["regularizer"]),
        "tau_alpha": _tau_alpha_curves(config["tau_alpha"]),
        "high_dimension": _high_dimension_curves(config["high_dimension"]),
    }
    return {"arrays": arrays, "tail_index": [], "extra": {"columns": COLUMNS}}


def _regularizer_curves(block: Mapping[str, Any]) -> np.ndarray:
    n, m, sigma = (int(block["data_dim"]), int(block["latent_dim"]), float(block["sigma"]))
    low, high = math.sqrt(block["variance_min"]), math.sqrt(block["variance_max"])
    variance = np.linspace(low, high, int(block["points"])) ** 2  # denser where curves are steep
    rows = []
    for nu in block["nu"]:
        curve = regularizer(variance, gamma_constants(float(nu), n, m, sigma))
        rows.append(np.column_stack([np.full_like(variance, nu), variance, curve]))
    # 2 KL(N(0, s I) || N(0, I)), the limit for infinite nu
    limit = m * (variance - 1.0 - np.log(variance))
    rows.append(np.column_stack([np.full_like(variance, GAUSSIAN), variance, limit]))
    return np.concatenate(rows)


def _tau_alpha_curves(block: Mapping[str, Any]) -> np.ndarray:
    m, sigma = int(block["latent_dim"]), float(block["sigma"])
    grid = np.geomspace(block["excess_min"], block["excess_max"], int(block["points"]))
    rows = []
    for n in block["data_dims"]:
        for excess in grid:
            constants = gamma_constants(2.0 + float(excess), int(n), m, sigma)
            rows.append([n, excess, math.sqrt(constants.tau_sq), constants.alpha])
    return np.array(rows, dtype=np.float64)


def _high_dimension_curves(block: Mapping[str, Any]) -> np.ndarray:
    m, sigma = int(block["latent_dim"]), float(block["sigma"])
    limit = high_dimension_limit(sigma)
    grid = np.geomspace(1, int(block["data_dim_max"]), int(block["points"]))
    rows = []
    for nu in block["nu"]:
        for n in np.unique(np.round(grid).astype(int)):
            c = gamma_constants(float(nu), int(n), m, sigma)
            rows.append([nu, n, c.tau_sq, c.v_star, c.alpha, limit])
    return np.array(rows, dtype=np.float64)
