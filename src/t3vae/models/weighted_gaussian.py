"""What the Gaussian families share: weight and prior scale, also matched to a t3VAE.

In high dimension the regularizer of t3VAE tends to v*(nu, n, sigma) times that of a Gaussian
VAE with the prior N(0, v* I); a control that is matched has that weight, and that scale too.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from t3vae.errors import ConfigError
from t3vae.maths.constants import gamma_constants
from t3vae.models.base import Model, check_above, shape_of
from t3vae.settings import arguments

__all__ = ["Matched", "WeighedGaussian", "matched"]


class Matched(NamedTuple):
    """Weight of the regularizer, scale of the prior, and both as they were given."""

    beta: float
    prior_scale: float
    given: dict[str, Any]


def matched(
    beta: float | str,
    prior_scale: float | str,
    nu: float | None,
    *,
    data_dim: Any,
    latent_dim: int,
    sigma: float,
) -> Matched:
    """Resolve ``"matched"`` to v*(nu, n, sigma) as a weight, to its square root as a scale.

    Args:
        beta, prior_scale: numbers or ``"matched"``.
        nu: degrees of freedom of the t3VAE that is matched.
        data_dim: data dimension n, or the shape of one data point.
        latent_dim: all latent dimensions together, m.
        sigma: decoder scale.

    Raises:
        ConfigError: something is matched and nu is missing.

    Example:
        >>> round(matched("matched", 1.0, 10.0, data_dim=3072, latent_dim=64, sigma=1.0).beta, 4)
        0.0589
    """
    given = arguments.plain({"beta": beta, "prior_scale": prior_scale, "nu": nu})
    asked = []
    for name in ("beta", "prior_scale"):
        value = given[name]
        if isinstance(value, str):
            if value != "matched":
                raise ConfigError(f"{name} = {value!r}: must be a number above 0, or 'matched'.")
            asked.append(name)
    v_star = 1.0
    if asked:
        if nu is None:
            raise ConfigError(f"{asked[0]} = 'matched': needs nu, of the t3VAE to match.")
        n = math.prod(shape_of(data_dim))
        latent_dim = arguments.whole("latent_dim", latent_dim, 1)
        numbers = arguments.real("nu", nu), arguments.real("sigma", sigma)
        v_star = gamma_constants(numbers[0], n, latent_dim, numbers[1]).v_star
    return Matched(
        v_star if "beta" in asked else arguments.real("beta", given["beta"]),
        math.sqrt(v_star)
        if "prior_scale" in asked
        else arguments.real("prior_scale", given["prior_scale"]),
        {key: value for key, value in given.items() if value is not None},
    )


class WeighedGaussian(Model):
    """Base of the Gaussian families: a weight and a prior scale, numbers or matched."""

    def __init__(
        self,
        data_dim: Any,
        latent_dim: int,
        *,
        sigma: float = 1.0,
        beta: float | str = 1.0,
        prior_scale: float | str = 1.0,
        nu: float | None = None,
        **parts: Any,
    ) -> None:
        total = self._all_latent_dims(latent_dim, parts)
        self._matched = matched(
            beta, prior_scale, nu, data_dim=data_dim, latent_dim=total, sigma=sigma
        )
        super().__init__(data_dim, latent_dim, sigma=sigma, beta=self._matched.beta, **parts)
        scale = self._matched.prior_scale
        self.prior_scale = check_above("prior_scale", scale, 0.0, "it is the scale of the prior")

    @staticmethod
    def _all_latent_dims(latent_dim: int, parts: dict[str, Any]) -> int:
        """Return all latent dimensions together, on which v* depends."""
        return latent_dim

    def hyperparameters(self) -> dict[str, Any]:
        """Parameters of the family, as they stand in ``params.yaml``."""
        return dict(self._matched.given)
