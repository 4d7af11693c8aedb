"""Declarations of families and networks against the classes that take them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from family_examples import examples

from t3vae import models
from t3vae.errors import ConfigError
from t3vae.settings import families, parameters

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("family", list(families.FAMILIES))
def test_a_family_takes_what_it_declares(family: str) -> None:
    entry = {"family": family, **examples(family)[0]}
    declared = families.FAMILIES[family].options.model_validate(entry).model_dump(mode="json")
    model = models.build(declared, [3], 2, sigma=1.0, classes=3)
    given = {"family": family, **model.hyperparameters()}
    known = {key: value for key, value in declared.items() if value is not None}
    assert {key: given[key] for key in known} == known


def params(tmp_path: Path, change) -> Path:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def conditional_on_numbers(values) -> None:
    values["models"]["mine"] = {"family": "c_vae"}
    values["experiments"]["univariate_smoke"]["models"].append("mine")


def cnn_on_numbers(values) -> None:
    values["networks"]["mine"] = {"kind": "cnn"}
    values["experiments"]["univariate_smoke"]["network"] = "mine"


def bfloat16_of_perceptrons(values) -> None:
    entry = values["experiments"]["univariate_smoke"]
    values["training"][entry["training"]]["precision"] = "bfloat16"


def matched_to_nothing(values) -> None:
    values["models"]["mine"] = {"family": "hvae", "beta": "matched"}


def unknown_kind(values) -> None:
    values["networks"]["mine"] = {"kind": "transformer"}


def unknown_objective(values) -> None:
    values["models"]["mine"] = {"family": "t3hvae", "nu": 5.0, "objective": "both"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (conditional_on_numbers, "have no classes"),
        (cnn_on_numbers, "has no images"),
        (bfloat16_of_perceptrons, "cannot use"),
        (matched_to_nothing, "Add nu"),
        (unknown_kind, "package.module:function"),
        (unknown_objective, "per_level"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parameters.load(params(tmp_path, change))


def test_network_of_one_s_own(tmp_path: Path) -> None:
    entry = {"kind": "my_networks:build", "units": 4}
    path = params(tmp_path, lambda values: values["networks"].update(mine=entry))
    assert parameters.load(path).networks["mine"].model_dump(mode="json") == entry
