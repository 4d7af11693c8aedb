"""Objectives of the baselines, in the 2x convention: twice a divergence, twice a likelihood.

Regularizers are per sample, [B]; dimensions are summed, the batch mean is the caller's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from t3vae.errors import ConfigError
from t3vae.maths.constants import log_t_normalizer
from t3vae.maths.distributions import log_t_normalizer_tensor

__all__ = [
    "de_regularizer_2x",
    "de_regularizer_2x_slopes",
    "discriminator_loss",
    "gaussian_kl_2x",
    "gaussian_kl_2x_slopes",
    "student_t_kl_2x",
    "student_t_nll_2x",
    "total_correlation_2x",
]


def gaussian_kl_2x(mu: Tensor, logvar: Tensor, prior_scale: float = 1.0) -> Tensor:
    r"""Return twice the divergence from the encoder to the prior N(0, k^2 I).

    .. math:: 2\,\mathrm{KL} = \sum_i\big[(\mu_i^2+\Sigma_i)/k^2 - 1 - \log\Sigma_i + 2\log k\big]

    Source: Kingma & Welling 2014.

    Args:
        mu, logvar: encoder mean and log variance, [B, m].
        prior_scale: k, positive.

    Returns:
        [B].

    Raises:
        ConfigError: if the prior scale is not positive.

    Example:
        >>> gaussian_kl_2x(torch.ones(1, 2), torch.zeros(1, 2)).item()
        2.0
    """
    if not (prior_scale > 0 and math.isfinite(prior_scale)):
        raise ConfigError(f"prior_scale = {prior_scale}: must be positive and finite. Try 1.0.")
    centred = logvar if prior_scale == 1.0 else logvar - 2 * math.log(prior_scale)
    terms = torch.addcmul(torch.expm1(centred) - centred, mu, mu, value=prior_scale**-2)
    return terms.squeeze(-1) if terms.shape[-1] == 1 else terms.sum(-1)


def gaussian_kl_2x_slopes(
    mu: Tensor, logvar: Tensor, prior_scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :func:`gaussian_kl_2x`, [B], and its derivatives by mu and logvar, [B, m].

    .. math:: \partial_{\mu_i} = 2\mu_i/k^2,\qquad \partial_{\log\Sigma_i} = \Sigma_i/k^2 - 1
    """
    inverse = prior_scale**-2
    centred = logvar if prior_scale == 1.0 else logvar - 2 * math.log(prior_scale)
    of_logvar = torch.expm1(centred)
    terms = (of_logvar - centred).addcmul_(mu, mu, value=inverse)
    return terms.sum(-1), mu * (2.0 * inverse), of_logvar


def student_t_nll_2x(x: Tensor, mu: Tensor, loglam: Tensor, lognu: Tensor) -> Tensor:
    r"""Return twice the negative log-likelihood of a decoder with independent t coordinates.

    .. math:: -2\sum_j\Big[\ln\Gamma(\tfrac{\nu_j+1}2)-\ln\Gamma(\tfrac{\nu_j}2)
              +\tfrac12\log\tfrac{\lambda_j}{\pi\nu_j}
              -\tfrac{\nu_j+1}2\log\big(1+\tfrac{\lambda_j}{\nu_j}(x_j-\mu_j)^2\big)\Big]

    Source: Takahashi et al. 2018.

    Args:
        x: data, [B, n].
        mu: location, [B, n].
        loglam: log precision (inverse squared scale), [B, n].
        lognu: log degrees of freedom, [B, n].

    Returns:
        [B].

    Example:
        >>> zero = torch.zeros(1, 1)  # Cauchy at its mode: 2 log(pi)
        >>> round(student_t_nll_2x(zero, zero, zero, zero).item(), 4)
        2.2895
    """
    nu = lognu.exp()
    distance = torch.log1p((loglam - lognu).exp() * (x - mu).square())
    terms = (nu + 1) * distance - loglam - 2 * log_t_normalizer_tensor(nu, 1)
    return terms.sum(-1)


def de_regularizer_2x(z: Tensor, logvar: Tensor, nu: float) -> Tensor:
    r"""Return twice a one-draw estimate of the divergence to a product of univariate t's.

    .. math:: -\sum_i(\log 2\pi+1+\log\Sigma_i) - 2m\log C_{\nu,1}
              + (\nu+1)\sum_i\log(1+z_i^2/\nu)

    The Gaussian encoder's entropy is exact, the cross-entropy uses the draw z. Source:
    Mathieu et al. 2019 (alpha = 0).

    Args:
        z: a draw from the encoder, [B, m].
        logvar: log variance of the encoder, [B, m].
        nu: degrees of freedom of each prior coordinate.

    Returns:
        [B].
    """
    m = z.shape[-1]
    constant = m * (math.log(2 * math.pi) + 1 + 2 * log_t_normalizer(nu, 1))
    terms = (nu + 1) * torch.log1p(z.square() * (1.0 / nu)) - logvar
    return terms.sum(-1) - constant


def de_regularizer_2x_slopes(z: Tensor, logvar: Tensor, nu: float) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return :func:`de_regularizer_2x`, [B], and its derivatives by z and logvar, [B, m].

    .. math:: \partial_{z_i} = 2(\nu+1)\,z_i/(\nu+z_i^2),\qquad \partial_{\log\Sigma_i} = -1
    """
    of_z = z / torch.addcmul(torch.full((1,), nu, dtype=z.dtype, device=z.device), z, z)
    return de_regularizer_2x(z, logvar, nu), of_z.mul_(2.0 * (nu + 1)), -torch.ones_like(z)


def student_t_kl_2x(z: Tensor, mu: Tensor, var: Tensor, nu_q: Tensor, nu_p: float) -> Tensor:
    r"""Return twice a one-draw estimate of the divergence between multivariate t distributions.

    .. math:: 2[\log C_{\nu_q,m}-\log C_{\nu_p,m}]-\sum_i\log\Sigma_i
              -(\nu_q+m)\log\big(1+\tfrac{\delta_q}{\nu_q}\big)
              +(\nu_p+m)\log\big(1+\tfrac{\|z\|^2}{\nu_p}\big),\quad
              \delta_q=\sum_i\tfrac{(z_i-\mu_i)^2}{\Sigma_i}

    Source: Abiri & Ohlsson 2020 (VAE-st); the prior t_m(0, I, nu_p) has a fixed nu_p.

    Args:
        z: a draw from the encoder t_m(mu, diag(var), nu_q), [B, m].
        mu: location, [B, m].
        var: diagonal of the scale matrix, [B, m].
        nu_q: degrees of freedom of the encoder, [B].
        nu_p: degrees of freedom of the prior.

    Returns:
        [B].
    """
    m = z.shape[-1]
    distance = ((z - mu).square() / var).sum(-1)
    normalizers = log_t_normalizer_tensor(nu_q, m) - log_t_normalizer(nu_p, m)
    return (
        2 * normalizers
        - var.log().sum(-1)
        - (nu_q + m) * torch.log1p(distance / nu_q)
        + (nu_p + m) * torch.log1p(z.square().sum(-1) * (1.0 / nu_p))
    )


def total_correlation_2x(logits: Tensor) -> Tensor:
    r"""Return twice the density-ratio estimate of the total correlation, a batch mean.

    .. math:: 2\,\overline{D_0(z)-D_1(z)}

    Source: Kim & Mnih 2018 (FactorVAE).

    Args:
        logits: the discriminator's logits, [B, 2]; class 0 is the joint distribution of z, class 1
            the product of its marginals.

    Example:
        >>> total_correlation_2x(torch.tensor([[1.0, 0.0], [3.0, 0.0]])).item()
        4.0
    """
    return 2 * (logits[..., 0] - logits[..., 1]).mean()


def discriminator_loss(logits_joint: Tensor, logits_permuted: Tensor) -> Tensor:
    r"""Return the discriminator's loss, the mean of its two cross-entropies.

    .. math:: \tfrac12\big[\mathrm{CE}(D(z), 0) + \mathrm{CE}(D(\mathrm{perm}(z')), 1)\big]

    The caller detaches z. Source: Kim & Mnih 2018 (FactorVAE).

    Args:
        logits_joint: logits at samples of the joint distribution, [B, 2].
        logits_permuted: logits at samples with each coordinate permuted, [B, 2].

    Example:
        >>> zero = torch.zeros(4, 2)
        >>> round(discriminator_loss(zero, zero).item(), 4)
        0.6931
    """
    # -log softmax_0(a, b) = softplus(b - a)
    joint = functional.softplus(logits_joint[..., 1] - logits_joint[..., 0]).mean()
    permuted = functional.softplus(logits_permuted[..., 0] - logits_permuted[..., 1]).mean()
    return 0.5 * (joint + permuted)
