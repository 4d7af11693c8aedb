"""t3VAE: heavy-tailed variational autoencoders and what they are compared with.

Example:
    >>> import t3vae, torch
    >>> with t3vae.seed(0):
    ...     model = t3vae.T3VAE(data_dim=4, latent_dim=2, nu=5.0)
    >>> history = t3vae.fit(model, torch.randn(512, 4), epochs=1, seed=0).history
    >>> model.sample(10, seed=0).shape
    torch.Size([10, 4])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t3vae.models import build as build_model
    from t3vae.models import initialisation as seed
    from t3vae.models.c_t3vae import CT3VAE
    from t3vae.models.c_vae import CVAE
    from t3vae.models.de_vae import DEVAE
    from t3vae.models.factor_vae import FactorVAE
    from t3vae.models.gaussian_twin import GaussianTwin
    from t3vae.models.hvae import HVAE
    from t3vae.models.student_t_vae import StudentTVAE
    from t3vae.models.t3hvae import T3HVAE
    from t3vae.models.t3vae import T3VAE
    from t3vae.models.tilted_vae import TiltedVAE
    from t3vae.models.vae import VAE
    from t3vae.models.vae_st import VAEst
    from t3vae.training.checkpoint import load, save
    from t3vae.training.loop import fit
    from t3vae.training.sampling import fit_latent

__version__ = "0.1.0"
__all__ = [
    "CT3VAE",
    "CVAE",
    "DEVAE",
    "HVAE",
    "T3HVAE",
    "T3VAE",
    "VAE",
    "FactorVAE",
    "GaussianTwin",
    "StudentTVAE",
    "TiltedVAE",
    "VAEst",
    "build_model",
    "fit",
    "fit_latent",
    "load",
    "save",
    "seed",
]

_HOME = {
    "CT3VAE": ("t3vae.models.c_t3vae", "CT3VAE"),
    "CVAE": ("t3vae.models.c_vae", "CVAE"),
    "DEVAE": ("t3vae.models.de_vae", "DEVAE"),
    "FactorVAE": ("t3vae.models.factor_vae", "FactorVAE"),
    "GaussianTwin": ("t3vae.models.gaussian_twin", "GaussianTwin"),
    "HVAE": ("t3vae.models.hvae", "HVAE"),
    "StudentTVAE": ("t3vae.models.student_t_vae", "StudentTVAE"),
    "T3HVAE": ("t3vae.models.t3hvae", "T3HVAE"),
    "T3VAE": ("t3vae.models.t3vae", "T3VAE"),
    "TiltedVAE": ("t3vae.models.tilted_vae", "TiltedVAE"),
    "VAE": ("t3vae.models.vae", "VAE"),
    "VAEst": ("t3vae.models.vae_st", "VAEst"),
    "build_model": ("t3vae.models", "build"),
    "fit": ("t3vae.training.loop", "fit"),
    "fit_latent": ("t3vae.training.sampling", "fit_latent"),
    "load": ("t3vae.training.checkpoint", "load"),
    "save": ("t3vae.training.checkpoint", "save"),
    "seed": ("t3vae.models", "initialisation"),
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package is cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 't3vae' has no attribute {name!r}")
    module, attribute = _HOME[name]
    found = getattr(importlib.import_module(module), attribute)
    model = importlib.import_module("t3vae.models.base").Model
    model.save, model.fit_latent = _save, _fit_latent
    return found


def _save(self: Any, path: Any) -> None:
    """Write the model to one file; the same as ``t3vae.save(model, path)``."""
    __getattr__("save")(self, path)


def _fit_latent(self: Any, x: Any, *, seed: int = 0, **options: Any) -> Any:
    """Fit the distribution ``fitted``; the same as ``t3vae.fit_latent(model, x)``."""
    return __getattr__("fit_latent")(self, x, seed=seed, **options)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
