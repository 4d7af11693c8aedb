"""Objectives of the two-level t model: per level, or with a jointly t encoder.

The 2x convention of :mod:`t3vae.maths.divergence` holds: regularizers are twice a divergence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from t3vae.errors import ConfigError
from t3vae.maths.constants import GammaConstants, HierarchicalConstants
from t3vae.maths.divergence import gamma_regularizer, power_regularizer

__all__ = [
    "hierarchical_regularizers",
    "joint_hierarchical_regularizer",
]


def hierarchical_regularizers(
    mu1: Tensor,
    logvar1: Tensor,
    mu2: Tensor,
    logvar2: Tensor,
    prior_mu2: Tensor,
    constants: HierarchicalConstants,
    weight: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return the two regularizers of the per-level hierarchical objective, per sample.

    .. math::
        \mathrm{reg}_1 &= \|\mu_1\|^2 + \tfrac{\nu}{N_1}\mathrm{tr}\Sigma_1
                          - w A|\Sigma_1|^{\kappa/2} \\
        \mathrm{reg}_2 &= \|\mu_2-\mu_\theta(z_1)\|^2 + \tfrac{\nu}{N_2}\mathrm{tr}\Sigma_2
                          - A|\Sigma_2|^{\kappa/2}

    Each is computed as a non-negative stable part plus its minimum, so gradients do not
    cancel for large nu. Source: Kim et al. 2024, the hierarchical model.

    Args:
        mu1, logvar1: level-1 encoder, [B, m1].
        mu2, logvar2: level-2 encoder, [B, m2].
        prior_mu2: location of the level-2 prior given z1, [B, m2].
        constants: from :func:`t3vae.maths.constants.hierarchical_constants`.
        weight: w, the weight of the level-1 entropy; 1 + gamma when None.

    Returns:
        reg1 and reg2, each [B].

    Raises:
        ConfigError: if the weight is not positive.

    Example:
        >>> from t3vae.maths.constants import hierarchical_constants
        >>> constants = hierarchical_constants(nu=5.0, n=3, m1=2, m2=4, sigma=1.0)
        >>> a, b = torch.zeros(7, 2), torch.zeros(7, 4)
        >>> reg1, reg2 = hierarchical_regularizers(a, a, b, b, b, constants)
        >>> reg1.shape, reg2.shape
        (torch.Size([7]), torch.Size([7]))
    """
    if weight is None:
        weight = 1.0 + constants.gamma
    shift1 = constants.log_minimizer1(weight)
    scale1 = constants.nu / constants.order1 * math.exp(shift1)
    reg1 = power_regularizer(mu1, logvar1, scale1, shift1, constants.order)
    shift2 = 2 * constants.b2 / constants.order2
    scale2 = constants.nu / constants.order2 * math.exp(shift2)
    reg2 = power_regularizer(mu2 - prior_mu2, logvar2, scale2, shift2, constants.order)
    minimum1 = scale1 * (constants.m1 - constants.order)
    minimum2 = scale2 * (constants.m2 - constants.order)
    return reg1 + minimum1, reg2 + minimum2


def joint_hierarchical_regularizer(
    mu1: Tensor,
    logvar1: Tensor,
    mu2: Tensor,
    logvar2: Tensor,
    prior_mu2: Tensor,
    constants: GammaConstants,
) -> Tensor:
    r"""Return the regularizer of the joint-t hierarchical objective, per sample.

    .. math:: R = R_\gamma\big([\mu_1, \mu_2-\mu_\theta(z_1)], [\Sigma_1,\Sigma_2]\big)

    with the flat constants of m = m1 + m2. Exact when the encoder is jointly t and its
    level-2 scale does not depend on z1.

    Args:
        mu1, logvar1: level-1 encoder, [B, m1].
        mu2, logvar2: level-2 encoder, [B, m2].
        prior_mu2: location of the level-2 prior given z1, [B, m2].
        constants: flat constants with m = m1 + m2.

    Returns:
        [B].

    Raises:
        ConfigError: if the constants belong to another latent dimension.
    """
    mu = torch.cat((mu1, mu2 - prior_mu2), dim=-1)
    if mu.shape[-1] != constants.m:
        raise ConfigError(
            f"constants of m = {constants.m}: the two levels have {mu.shape[-1]} dimensions "
            "together; make the constants with that m."
        )
    return gamma_regularizer(mu, torch.cat((logvar1, logvar2), dim=-1), constants)
