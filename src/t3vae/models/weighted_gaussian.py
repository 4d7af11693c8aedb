"""What the Gaussian families share: weight and prior scale, also matched to a t3VAE.

In high dimension the regularizer of t3VAE tends to v*(nu, n, sigma) times that of a Gaussian
VAE with the prior N(0, v* I); a control that is matched has that weight, and that scale too.
"""

from __future__ import annotations

import math
from typing import Any

from t3vae.errors import ConfigError
from t3vae.maths.constants import gamma_constants
from t3vae.models.base import Model, check_above
from t3vae.settings import arguments

__all__ = ["WeighedGaussian"]


class WeighedGaussian(Model):
    """Base of the Gaussian families: a weight and a prior scale, numbers or matched.

    Args:
        data_dim, latent_dim: see :class:`Model`.
        beta: weight of the regularizer, or ``"matched"`` for v*(nu, n, sigma) with all latent
            dimensions together.
        prior_scale: scale of the prior, or ``"matched"`` for sqrt(v*).
        nu: degrees of freedom of the t3VAE that is matched.

    Raises:
        ConfigError: something is matched and nu is missing.
    """

    def __init__(
        self,
        data_dim: Any,
        latent_dim: int,
        *,
        beta: float | str = 1.0,
        prior_scale: float | str = 1.0,
        nu: float | None = None,
        **parts: Any,
    ) -> None:
        given = arguments.plain({"beta": beta, "prior_scale": prior_scale, "nu": nu})
        asked = [name for name in ("beta", "prior_scale") if isinstance(given[name], str)]
        for name in asked:
            if given[name] != "matched":
                raise ConfigError(
                    f"{name} = {given[name]!r}: must be a number above 0, or 'matched'."
                )
        if asked and nu is None:
            raise ConfigError(f"{asked[0]} = 'matched': needs nu, of the t3VAE to match.")
        self._given = {name: value for name, value in given.items() if value is not None}
        scale = 1.0 if "prior_scale" in asked else arguments.real("prior_scale", prior_scale)
        weight = 1.0 if "beta" in asked else given["beta"]
        super().__init__(data_dim, latent_dim, beta=weight, **parts)
        self.prior_scale = check_above("prior_scale", scale, 0.0, "it is the scale of the prior")
        if asked:
            nu = arguments.real("nu", nu)
            v_star = gamma_constants(nu, self.data_dim, self.latent_dim, self.sigma).v_star
            self.beta = v_star if "beta" in asked else self.beta
            self.prior_scale = math.sqrt(v_star) if "prior_scale" in asked else self.prior_scale

    def hyperparameters(self) -> dict[str, Any]:
        """Parameters of the family, as they stand in ``params.yaml``."""
        return dict(self._given)
