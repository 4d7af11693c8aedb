"""A model from outside the package: one file and one entry in params.yaml."""

from __future__ import annotations

import textwrap
from pathlib import Path

import yaml
from copies import t3vae

ROOT = Path(__file__).resolve().parents[1]

MODEL = """
from pydantic import BaseModel, ConfigDict, Field
from t3vae.models.vae import VAE


class Shrunk(VAE):
    '''A VAE whose encoder mean is pulled towards zero by a factor.'''

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        factor: float = Field(gt=0, le=1, description="Factor of the encoder mean.")

    def __init__(self, data_dim, latent_dim, *, factor, **parts):
        super().__init__(data_dim, latent_dim, **parts)
        self.factor = factor

    def hyperparameters(self):
        return {"factor": self.factor}

    def _encoded(self, x):
        mu, logvar = super()._encoded(x)
        return self.factor * mu, logvar
"""


def workspace(folder: Path, **entry: object) -> None:
    (folder / "my_models.py").write_text(textwrap.dedent(MODEL))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["models"]["mine"] = {"family": "my_models:Shrunk", **entry}
    params["experiments"]["univariate_smoke"]["models"].append("mine")
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def test_it_trains_samples_and_is_measured(tmp_path: Path) -> None:
    workspace(tmp_path, factor=0.5)
    run = ["--experiment", "univariate_smoke", "--model", "mine", "--seed", "0"]
    for arguments in (
        ["prepare", "--dataset", "univariate_smoke"],
        ["train", *run], ["sample", *run], ["evaluate", *run],
    ):  # fmt: skip
        done = t3vae(*arguments, cwd=tmp_path, path=str(tmp_path))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/metrics/univariate_smoke/mine/seed0.json").exists()


def test_its_parameters_are_checked(tmp_path: Path) -> None:
    workspace(tmp_path, factor=2.0, surprise=1)
    done = t3vae("params", cwd=tmp_path, path=str(tmp_path))
    assert done.returncode == 2
    assert "factor" in done.stderr
    assert "surprise" in done.stderr
    assert "Traceback" not in done.stderr
