"""Parameters with which tests build each family; a new family gets its declared examples."""

from __future__ import annotations

from typing import Any

import yaml

from t3vae.settings.declarations import extra
from t3vae.settings.families import FAMILIES

__all__ = ["examples"]

_MORE: dict[str, list[dict[str, Any]]] = {
    "vae": [
        {},
        {"beta": 0.3, "prior_scale": 2.0},
        {"beta": "matched", "prior_scale": "matched", "nu": 5.0},
    ],
    "t3vae": [{"nu": 5.0}, {"nu": 30.0, "beta": 0.5}],
    "gaussian_twin": [{"nu": 5.0}, {"nu": 3.0, "entropy_weight": 0.9}],
    "tilted_vae": [{"tilt": 1.0}],
    "factor_vae": [
        {"tc_weight": 6.4, "discriminator_width": 8, "discriminator_learning_rate": 0.01}
    ],
    "hvae": [
        {"latent_dim_2": 2},
        {"beta": "matched", "prior_scale": "matched", "nu": 5.0, "latent_dim_2": 3},
    ],
    "t3hvae": [{"nu": 5.0}, {"nu": 5.0, "objective": "joint", "latent_dim_2": 1}],
    "c_vae": [{}, {"beta": "matched", "prior_scale": "matched", "nu": 5.0}],
}


def examples(family: str) -> list[dict[str, Any]]:
    """Return parameters of a family, the plainest first."""
    fields = FAMILIES[family].options.model_fields
    needed = {name: info for name, info in fields.items() if info.is_required()}
    needed.pop("family")
    plain = {n: yaml.safe_load(str(extra(info, "example"))) for n, info in needed.items()}
    return _MORE.get(family) or [plain | ({"nu": 5.0} if "nu" in plain else {})]
