"""Constants of the gamma-power objective: pure functions of (nu, n, m, sigma) in float64.

Conventions: n is the dimension of the data, m of the latent variable, sigma the decoder
scale (not a variance), nu the degrees of freedom. All logarithms are natural.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from numbers import Integral, Real

from t3vae.errors import ConfigError

__all__ = [
    "GammaConstants",
    "HierarchicalConstants",
    "gamma_constants",
    "hierarchical_constants",
    "high_dimension_limit",
    "log_t_normalizer",
]

LARGEST_DIMENSION = 10**15
"""Largest n and m: floating-point numbers know every integer up to a few times this."""

# Coefficients B_2k / (2k (2k - 1)) of Stirling's series for log Gamma.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _stirling_remainder(a: float) -> float:
    """Return log Gamma(a) - [(a - 1/2) log a - a + log(2 pi) / 2] for a >= 20."""
    inverse = 1.0 / a
    square = inverse * inverse
    total = 0.0
    for coefficient in reversed(_STIRLING):
        total = total * square + coefficient
    return total * inverse


def log_t_normalizer(nu: float, d: int) -> float:
    r"""Return log C_{nu,d}, the log normaliser of the d-variate t distribution with unit scale.

    .. math:: \log C_{\nu,d} = \log\Gamma(\tfrac{\nu+d}{2}) - \log\Gamma(\tfrac{\nu}{2})
              - \tfrac d2 \log(\nu\pi)

    For large nu the difference of log-gammas is taken in Stirling's form, where nothing
    cancels; ``nu = inf`` gives the normal distribution, -(d/2) log(2 pi).

    Args:
        nu: degrees of freedom, positive.
        d: dimension, at least 1.

    Raises:
        ConfigError: if nu or d is out of range.

    Example:
        >>> round(log_t_normalizer(1.0, 1), 6)  # Cauchy: -log(pi)
        -1.14473
    """
    problems = []
    if not _number(nu) > 0:
        problems.append(f"nu = {_shown(nu)}: must be greater than 0. Try 5.0.")
    if not _is_integer(d, 4 * LARGEST_DIMENSION):
        problems.append(f"d = {_shown(d)}: must be an integer from 1 to {4 * LARGEST_DIMENSION}.")
    if problems:
        raise ConfigError(problems)
    nu, h = _number(nu), int(d) / 2
    if math.isinf(nu):
        return -h * math.log(2 * math.pi)
    a = nu / 2
    if a < 20:
        return math.lgamma(a + h) - math.lgamma(a) - h * math.log(nu * math.pi)
    return (
        (a + h - 0.5) * math.log1p(h / a)
        - h * (1 + math.log(2 * math.pi))
        + _stirling_remainder(a + h)
        - _stirling_remainder(a)
    )


@dataclass(frozen=True)
class GammaConstants:
    r"""Constants of the gamma-loss and of the alternative prior (Kim et al. 2024).

    Attributes:
        nu, n, m, sigma: what the constants belong to.
        gamma: :math:`-2/(\nu+m+n)`.
        kappa: :math:`-\gamma/(1+\gamma) = 2/(\nu+m+n-2)`.
        log_C_nu_n, log_C_nu_m, log_C_nu_nm: log normalisers of the t distribution, the last in n +
            m dimensions.
        log_base: :math:`b = \log C_{\nu,n} - n\log\sigma + \log\frac{\nu-2}{\nu+n-2}`.
        log_C1, log_C2, log_C1_over_C2: weights of entropy and cross-entropy.
        alpha: :math:`-\gamma\nu/(2C_2)`, the weight of the divergence to the alternative prior.
        tau_sq: squared scale of the alternative prior :math:`t_m(0, \tau^2 I, \nu+n)`.
        v_star: its variance per coordinate, :math:`\nu e^c/(\nu+n-2)`.
        nu_prime_tau_sq: :math:`(\nu+n)\tau^2`.
        shift: :math:`c = 2b/(\nu+n-2)`; the regularizer is zero at log-variance c.
        order: :math:`M = \nu+n+m-2 = 2/\kappa`.
    """

    nu: float
    n: int
    m: int
    sigma: float
    gamma: float
    kappa: float
    log_C_nu_n: float
    log_C_nu_m: float
    log_C_nu_nm: float
    log_base: float
    log_C1: float
    log_C2: float
    log_C1_over_C2: float
    alpha: float
    tau_sq: float
    v_star: float
    nu_prime_tau_sq: float
    shift: float
    order: float

    @property
    def tau(self) -> float:
        """Scale of the alternative prior."""
        return math.sqrt(self.tau_sq)

    @property
    def nu_prime(self) -> float:
        """Degrees of freedom of the encoder and of the alternative prior, nu + n."""
        return self.nu + self.n

    def to_dict(self) -> dict[str, float]:
        """Return all fields as a plain dictionary."""
        return asdict(self)


def gamma_constants(nu: float, n: int, m: int, sigma: float) -> GammaConstants:
    r"""Return the constants of the gamma-loss for one (nu, n, m, sigma).

    .. math::
        \log C_1 &= \tfrac{1}{1+\gamma}\big[\gamma(\log C_{\nu+n,m} + \tfrac m2\log(1+\tfrac n\nu))
                    + \log(1+\tfrac{m}{\nu+n-2})\big] \\
        \log C_2 &= \kappa\big[\log(1+\tfrac{m+n}{\nu-2}) + n\log\sigma - \log C_{\nu,m+n}\big] \\
        \tau^2 &= \tfrac{\nu}{\nu+n} e^{c},\quad c = \tfrac{2b}{\nu+n-2},\quad
        b = \log C_{\nu,n} - n\log\sigma + \log\tfrac{\nu-2}{\nu+n-2}

    Source: Kim et al. 2024 (arXiv 2312.01133).

    Args:
        nu: degrees of freedom, greater than 2.
        n: dimension of the data, at least 1.
        m: dimension of the latent variable, at least 1.
        sigma: decoder scale, positive.

    Raises:
        ConfigError: if an argument is out of range, all problems at once; or a constant is
            beyond the range of floating-point numbers.

    Example:
        >>> constants = gamma_constants(nu=9.0, n=1, m=1, sigma=0.1)
        >>> round(constants.tau, 5)
        1.1053
    """
    _check(nu, sigma, n=n, m=m)
    nu, n, m, sigma = float(nu), int(n), int(m), float(sigma)
    gamma = -2.0 / (nu + m + n)
    order = nu + n - 2 + m
    kappa = 2.0 / order
    log_c_nu_n = log_t_normalizer(nu, n)
    log_c_nu_nm = log_t_normalizer(nu, n + m)
    log_ratio = math.log((nu - 2) / (nu + n - 2))
    log_base = log_c_nu_n - n * math.log(sigma) + log_ratio
    log_c1 = (
        gamma * (log_t_normalizer(nu + n, m) + 0.5 * m * math.log1p(n / nu))
        + math.log1p(m / (nu + n - 2))
    ) / (1 + gamma)
    log_c2 = kappa * (math.log1p((m + n) / (nu - 2)) + n * math.log(sigma) - log_c_nu_nm)
    shift = 2 * log_base / (nu + n - 2)
    scale = nu * _exp(shift)
    tau_sq = scale / (nu + n)
    constants = GammaConstants(
        nu=nu,
        n=n,
        m=m,
        sigma=sigma,
        gamma=gamma,
        kappa=kappa,
        log_C_nu_n=log_c_nu_n,
        log_C_nu_m=log_t_normalizer(nu, m),
        log_C_nu_nm=log_c_nu_nm,
        log_base=log_base,
        log_C1=log_c1,
        log_C2=log_c2,
        log_C1_over_C2=math.log1p(m / (nu + n - 2)) + kappa * log_base,
        alpha=-0.5 * gamma * nu * _exp(-log_c2),
        tau_sq=tau_sq,
        v_star=scale / (nu + n - 2),
        nu_prime_tau_sq=scale,
        shift=shift,
        order=order,
    )
    named = ("tau_sq", "v_star", "nu_prime_tau_sq", "alpha")
    _check_range({name: getattr(constants, name) for name in named}, sigma)
    return constants


@dataclass(frozen=True)
class HierarchicalConstants:
    r"""Constants of the two-level objective; see :func:`hierarchical_constants`.

    Attributes:
        nu, n, m1, m2, sigma: what the constants belong to.
        gamma, kappa: :math:`-2/(\nu+n+m_1+m_2)` and :math:`2/N`.
        b2: base of level 2, the flat one with n replaced by n + m1 except in the power of sigma.
        log_A: log weight of the entropy terms, :math:`A = \nu C_1/C_2`.
        order1, order2, order: :math:`N_1`, :math:`N_2` and :math:`N`.
        log_tau1_w1, log_tau1_wg: log scale of level 1 for w = 1 and w = 1 + gamma.
        log_tau1_logdet: the same when the level-1 entropy is its log-determinant.
        log_tau2: log scale of level 2.
    """

    nu: float
    n: int
    m1: int
    m2: int
    sigma: float
    gamma: float
    kappa: float
    b2: float
    log_A: float
    order1: float
    order2: float
    order: float
    log_tau1_w1: float
    log_tau1_wg: float
    log_tau1_logdet: float
    log_tau2: float

    def log_tau1(self, weight: float) -> float:
        r"""Return the log scale of level 1 for entropy weight w.

        .. math:: \log\tau_1 = \tfrac12\log\tfrac{\nu}{\nu+n} + \frac{b_2 + \frac N2
                  [\log\frac{N_1}{N_2} + \log w]}{\nu+n+m_2-2}

        Args:
            weight: w, positive.

        Raises:
            ConfigError: if the weight is not positive.
        """
        return 0.5 * (math.log(self.nu / (self.nu + self.n)) + self.log_minimizer1(weight))

    def log_minimizer1(self, weight: float) -> float:
        """Return log s, where Sigma_1 = s I minimises the level-1 regularizer of weight w."""
        if not (weight > 0 and math.isfinite(weight)):
            raise ConfigError(
                f"weight of the level-1 entropy = {weight}: must be positive and finite. "
                "Try 1 + gamma (the default) or 1.0."
            )
        log_orders = math.log(self.order1 / self.order2) + math.log(weight)
        return (2 * self.b2 + self.order * log_orders) / (self.nu + self.n + self.m2 - 2)

    def to_dict(self) -> dict[str, float]:
        """Return all fields as a plain dictionary."""
        return asdict(self)


def hierarchical_constants(
    nu: float, n: int, m1: int, m2: int, sigma: float
) -> HierarchicalConstants:
    r"""Return the constants of the two-level t model with latent dimensions m1 and m2.

    .. math::
        N_1 &= \nu+n-2,\quad N_2 = N_1+m_1,\quad N = N_2+m_2 \\
        b_2 &= \log C_{\nu,n+m_1} - n\log\sigma + \log\tfrac{\nu-2}{N_2},\qquad
        \log A = \log\nu + \log\tfrac{N}{N_2} + \kappa b_2 \\
        \log\tau_2 &= \tfrac12\log\tfrac{\nu}{\nu+n+m_1} + \tfrac{b_2}{N_2}

    Source: Kim et al. 2024 for the model; the level-1 scale is the minimiser of its regularizer.

    Args:
        nu: degrees of freedom, greater than 2.
        n: dimension of the data.
        m1: dimension of the upper latent variable.
        m2: dimension of the lower latent variable.
        sigma: decoder scale, positive.

    Raises:
        ConfigError: if an argument is out of range; all problems at once.

    Example:
        >>> constants = hierarchical_constants(nu=5.0, n=3, m1=2, m2=4, sigma=1.0)
        >>> flat = gamma_constants(nu=5.0, n=5, m=4, sigma=1.0)
        >>> math.isclose(math.exp(2 * constants.log_tau2), flat.tau_sq)
        True
    """
    _check(nu, sigma, n=n, m1=m1, m2=m2)
    nu, sigma = float(nu), float(sigma)
    n, m1, m2 = int(n), int(m1), int(m2)
    order1 = nu + n - 2
    order2 = order1 + m1
    order = order2 + m2
    gamma = -2.0 / (order + 2)
    kappa = 2.0 / order
    b2 = log_t_normalizer(nu, n + m1) - n * math.log(sigma) + math.log((nu - 2) / order2)
    half_log_ratio = 0.5 * math.log(nu / (nu + n))

    def log_tau1(weight: float) -> float:
        log_orders = math.log(order1 / order2) + math.log(weight)
        return half_log_ratio + (b2 + 0.5 * order * log_orders) / (nu + n + m2 - 2)

    return HierarchicalConstants(
        nu=nu,
        n=n,
        m1=m1,
        m2=m2,
        sigma=sigma,
        gamma=gamma,
        kappa=kappa,
        b2=b2,
        log_A=math.log(nu) + math.log(order / order2) + kappa * b2,
        order1=order1,
        order2=order2,
        order=order,
        log_tau1_w1=log_tau1(1.0),
        log_tau1_wg=log_tau1(1.0 + gamma),
        log_tau1_logdet=half_log_ratio
        + 0.5 * (math.log(order1 * order / (order2 * (order + 2))) + kappa * b2),
        log_tau2=0.5 * math.log(nu / (nu + n + m1)) + b2 / order2,
    )


def high_dimension_limit(sigma: float) -> float:
    r"""Return the limit of tau^2, v* and alpha as the data dimension grows.

    .. math:: \tau^2, v^*, \alpha \to \frac{1}{2\pi e\,\sigma^2} \quad (n\to\infty)

    The limit does not depend on nu (Stirling's formula in the constants of Kim et al. 2024).

    Args:
        sigma: decoder scale, positive.

    Raises:
        ConfigError: if sigma is not positive and finite, or the limit is beyond the range of
            floating-point numbers.

    Example:
        >>> round(high_dimension_limit(1.0), 6)
        0.05855
    """
    _check(3.0, sigma)
    sigma = float(sigma)
    square = 2 * math.pi * math.e * sigma * sigma
    limit = 1.0 / square if square > 0 else math.inf
    _check_range({"the limit of tau_sq": limit}, sigma)
    return limit


def _exp(x: float) -> float:
    """Return e^x, infinite where it is too large for a number."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _number(value: object) -> float:
    """Return a number as a float, infinite where it is too large; nan for what is none."""
    if not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_integer(value: object, largest: int) -> bool:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and 1 <= _number(value) <= largest


def _shown(value: object) -> str:
    digits = 30
    if isinstance(value, int) and abs(value) >= 10**digits:
        return f"an integer of more than {digits} digits"
    return str(value)


def _check_range(values: dict[str, float], sigma: float) -> None:
    beyond = [name for name, value in values.items() if not 0 < value < math.inf]
    if beyond:
        raise ConfigError(
            f"{', '.join(beyond)}: beyond the range of floating-point numbers for sigma = {sigma} "
            "and these dimensions. Try a sigma nearer to 1."
        )


def _check(nu: float, sigma: float, **dimensions: int) -> None:
    """Collect every problem of the arguments of a constants function and raise them at once."""
    problems = []
    if not 2 < _number(nu) < math.inf:
        problems.append(
            f"nu = {_shown(nu)}: must be finite and greater than 2, because the objective needs a "
            "finite prior variance. Try 2.5 or more."
        )
    if not 0 < _number(sigma) < math.inf:
        problems.append(f"sigma = {_shown(sigma)}: must be positive and finite. Try 1.0.")
    problems += [
        f"{name} = {_shown(value)}: must be an integer from 1 to {LARGEST_DIMENSION}."
        for name, value in dimensions.items()
        if not _is_integer(value, LARGEST_DIMENSION)
    ]
    if problems:
        raise ConfigError(problems)
