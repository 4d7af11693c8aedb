"""The gamma-power divergence between t distributions, the gamma-loss and its regularizer.

Everything is in the 2x convention: reconstruction is the squared error over sigma^2,
summed over dimensions, and the regularizer is twice a (scaled) divergence. The gamma-power
divergence is normalised by 1 / gamma, so it is non-negative and tends to the
Kullback-Leibler divergence as gamma tends to zero.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from t3vae.errors import ConfigError
from t3vae.maths.constants import GammaConstants, log_t_normalizer

__all__ = [
    "conditional_regularizer",
    "gamma_divergence_t",
    "gamma_regularizer",
    "power_regularizer",
    "power_regularizer_slopes",
]


def _exponentials(logvar: Tensor, shift: float, order: float) -> tuple[Tensor, Tensor]:
    centred = logvar - shift
    total = centred if logvar.shape[-1] == 1 else centred.sum(-1, keepdim=True)
    return torch.expm1(centred), torch.expm1(total * (1.0 / order))


def _power_terms(
    mu: Tensor, logvar: Tensor, scale: float, shift: float, order: float
) -> tuple[Tensor, Tensor]:
    """Return the regularizer, [B], and exp(l_i) - exp(sum l_i / M), [B, m]."""
    trace, entropy = _exponentials(logvar, shift, order)
    difference = trace - entropy
    if logvar.shape[-1] == 1:  # No sums over a single latent dimension.
        value = torch.add(mu * mu, trace.sub_(entropy, alpha=order), alpha=scale)
    else:
        value = torch.addcmul(trace.mul_(scale), mu, mu).sum(-1, keepdim=True)
        value.sub_(entropy, alpha=scale * order)
    return value.squeeze(-1), difference


class _PowerRegularizer(torch.autograd.Function):
    """|mu|^2 + scale [sum expm1(l_i) - M expm1(sum l_i / M)] with l = logvar - shift.

    Forward and backward are written out, because this is evaluated in every training step
    and its cost on small batches is the number of operations: the derivatives are 2 mu and
    scale (exp(l_i) - exp(sum l_i / M)), both at hand after the forward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, mu: Tensor, logvar: Tensor, scale: float, shift: float, order: float
    ) -> Tensor:
        value, difference = _power_terms(mu, logvar, scale, shift, order)
        ctx.save_for_backward(mu, logvar, difference)
        ctx.numbers = scale, shift, order
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        mu, logvar, difference = ctx.saved_tensors
        scale, shift, order = ctx.numbers
        if torch.is_grad_enabled():  # A second derivative is wanted: redo it differentiably.
            trace, entropy = _exponentials(logvar, shift, order)
            difference = trace - entropy
        gradient = gradients[0].unsqueeze(-1)
        return mu * (gradient * 2.0), difference * (gradient * scale), None, None, None


def power_regularizer(
    mu: Tensor, logvar: Tensor, scale: float, shift: float, order: float
) -> Tensor:
    r"""Return the common form of all gamma-power regularizers, per sample.

    .. math:: \|\mu\|^2 + v\Big[\sum_i \mathrm{expm1}(\ell_i)
              - M\,\mathrm{expm1}\big(\tfrac1M\sum_i\ell_i\big)\Big],\qquad
              \ell_i = \log\Sigma_{ii} - c

    Args:
        mu: location, [B, m].
        logvar: log of the scale diagonal, [B, m].
        scale: v.
        shift: c.
        order: M.

    Returns:
        [B].

    Raises:
        ConfigError: if the shapes of mu and logvar differ.
    """
    if mu.shape != logvar.shape:
        raise ConfigError(
            f"mu {tuple(mu.shape)} and logvar {tuple(logvar.shape)}: must have equal shapes [B, m]."
        )
    value: Tensor = _PowerRegularizer.apply(mu, logvar, scale, shift, order)
    return value


def power_regularizer_slopes(
    mu: Tensor, logvar: Tensor, scale: float, shift: float, order: float
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :func:`power_regularizer`, [B], and its derivatives by mu and logvar, [B, m].

    .. math:: \partial_{\mu_i} = 2\mu_i,\qquad
              \partial_{\log\Sigma_{ii}} = v\big[e^{\ell_i} - e^{\frac1M\sum_j\ell_j}\big]
    """
    value, difference = _power_terms(mu, logvar, scale, shift, order)
    return value, mu * 2.0, difference.mul_(scale)


def gamma_regularizer(mu: Tensor, logvar: Tensor, constants: GammaConstants) -> Tensor:
    r"""Return the regularizer of the gamma-loss, per sample.

    .. math::
        R_\gamma(\mu,\Sigma) = \|\mu\|^2 + v^*\Big[\sum_i \mathrm{expm1}(\ell_i)
        - M\,\mathrm{expm1}\big(\tfrac1M\sum_i\ell_i\big)\Big],\qquad
        \ell_i = \log\Sigma_{ii} - c

    This equals :math:`\|\mu\|^2 + \frac{\nu}{\nu+n-2}\mathrm{tr}\Sigma -
    \frac{\nu C_1}{C_2}|\Sigma|^{\kappa/2} + (\nu+n)\tau^2 =
    2\alpha\,\mathcal D_\gamma(q_\phi(\cdot|x)\,\|\,p^*)`, hence is non-negative and zero only at
    the alternative prior; in this form nothing cancels for large nu. Source: Kim et al. 2024.

    Args:
        mu: encoder location, [B, m].
        logvar: logarithm of the encoder's scale diagonal, [B, m].
        constants: from :func:`t3vae.maths.constants.gamma_constants`.

    Returns:
        [B].

    Example:
        >>> from t3vae.maths.constants import gamma_constants
        >>> constants = gamma_constants(nu=5.0, n=1, m=1, sigma=1.0)
        >>> value = gamma_regularizer(torch.zeros(1, 1), torch.zeros(1, 1), constants)
        >>> round(value.item(), 6)
        0.136615
    """
    return power_regularizer(mu, logvar, constants.v_star, constants.shift, constants.order)


def gamma_divergence_t(
    mu0: Tensor, scale0: Tensor, mu1: Tensor, scale1: Tensor, nu: float
) -> Tensor:
    r"""Return the gamma-power divergence between two t distributions with equal nu.

    With :math:`\gamma=-2/(\nu+d)` and :math:`\kappa=2/(\nu+d-2)`,

    .. math::
        \mathcal D_\gamma = -\tfrac1\gamma\Big[\tfrac{1+d/(\nu-2)}{C_{\nu,d}}\Big]^{\kappa}
        |\Sigma_1|^{\kappa/2}\Big\{\tfrac{\mathrm{tr}(\Sigma_1^{-1}\Sigma_0)-d}{\nu-2}
        + \tfrac{(\mu_0-\mu_1)^\top\Sigma_1^{-1}(\mu_0-\mu_1)}{\nu}
        - \big(1+\tfrac{d}{\nu-2}\big)\mathrm{expm1}\big(\tfrac\kappa2
        \log\tfrac{|\Sigma_0|}{|\Sigma_1|}\big)\Big\}

    which is the closed form of Kim et al. 2024 arranged so that nothing cancels for large nu.

    Args:
        mu0, mu1: locations, [d].
        scale0, scale1: full scale matrices, [d, d], positive definite.
        nu: degrees of freedom of both distributions, greater than 2.

    Returns:
        A scalar.

    Raises:
        ConfigError: if nu <= 2 or a scale matrix is not positive definite.

    Example:
        >>> zero, one = torch.zeros(2), torch.eye(2)
        >>> gamma_divergence_t(zero, one, zero, one, 5.0).item()
        0.0
    """
    if not nu > 2:
        raise ConfigError(f"nu = {nu}: must be greater than 2. Try 2.5 or more.")
    d = mu0.shape[-1]
    order = nu + d - 2
    factor1 = _cholesky(scale1, "scale1")
    factor0 = _cholesky(scale0, "scale0")
    logdet1 = 2 * factor1.diagonal().log().sum()
    logdet0 = 2 * factor0.diagonal().log().sum()
    trace = torch.linalg.solve_triangular(factor1, factor0, upper=False).square().sum()
    difference = (mu0 - mu1).unsqueeze(-1)
    distance = torch.linalg.solve_triangular(factor1, difference, upper=False).square().sum()
    mass = order / (nu - 2)
    braces = (
        (trace - d) / (nu - 2)
        + distance / nu
        - mass * torch.expm1((logdet0 - logdet1) * (1.0 / order))
    )
    log_mass = math.log(mass)
    log_factor = (2.0 / order) * (log_mass - log_t_normalizer(nu, d)) + logdet1 / order
    return 0.5 * (nu + d) * torch.exp(log_factor) * braces


def conditional_regularizer(
    mu: Tensor, logvar: Tensor, class_mu: Tensor, constants: GammaConstants
) -> Tensor:
    r"""Return the regularizer towards a class's own prior location, per sample.

    .. math:: R^{(y)} = R_\gamma(\mu_\phi(x,y)-\mu_y, \Sigma_\phi(x,y))

    Translation leaves every norm unchanged, so the constants are the unconditional ones. A
    natural extension of Kim et al. 2024 (compare Bouayed et al. 2025).

    Args:
        mu, logvar: encoder, [B, m].
        class_mu: location of each sample's class, [B, m].
        constants: from :func:`t3vae.maths.constants.gamma_constants`.

    Returns:
        [B].
    """
    return gamma_regularizer(mu - class_mu, logvar, constants)


def _cholesky(matrix: Tensor, name: str) -> Tensor:
    factor, info = torch.linalg.cholesky_ex(matrix)
    if bool(info != 0):
        raise ConfigError(f"{name}: must be a symmetric positive definite matrix.")
    return factor
