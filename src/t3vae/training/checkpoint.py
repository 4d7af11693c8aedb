"""Weights and description of a trained model in one safetensors file.

The header holds, as JSON, what the model is built from; the tensors are its weights and,
where one was fitted, the latent distribution ``fitted``. Nothing is unpickled.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae import models
from t3vae.errors import CheckpointError, ConfigError, DataError
from t3vae.maths.distributions import TMixture
from t3vae.models.base import Model, check_model
from t3vae.runtime import accelerator, files
from t3vae.settings.arguments import shown
from t3vae.settings.families import FAMILIES, NETWORKS

__all__ = [
    "FORMAT",
    "describe",
    "fitted_tensors",
    "load",
    "load_run",
    "needed",
    "save",
    "set_fitted",
]

FORMAT = 1
_FITTED = ("weights", "loc", "scale", "nu")


def describe(model: Model) -> dict[str, Any]:
    """Return what the model is built from, as plain JSON values.

    Custom networks are named, since a file cannot say what they compute.
    """
    custom = {
        name: f"{type(module).__module__}.{type(module).__qualname__}"
        for name in model.custom_networks
        for module in (getattr(model, name),)
    }
    return {
        "format": FORMAT,
        "model": {"family": models.family_name(model), **model.hyperparameters()},
        "data_shape": model.data_shape,
        "latent_dim": model.given_latent_dim,
        "sigma": model.sigma,
        "network": model.network,
        **({"classes": getattr(model, "classes", None)} if model.conditional else {}),
        **({"custom": custom} if custom else {}),
    }


def needed(model: Model) -> str | None:
    """Return the call of :func:`load` that a file of this model needs, or None for the plain one.

    Example:
        >>> from t3vae.models.vae import VAE
        >>> needed(VAE(2, 1)) is None
        True
        >>> needed(VAE(2, 1, decoder=torch.nn.Linear(1, 2)))
        't3vae.load(path, decoder=...)'
    """
    words = [f"{name}=..." for name in model.custom_networks]
    if _in_a_script(model):
        words.append(f"family={type(model).__name__}")
    kind = model.network["kind"]
    paths = [models.family_name(model), kind if len(model.custom_networks) < 2 else "mlp"]
    if any(":" in path and not path.startswith("__main__:") for path in paths):
        words.append("imports=True")
    return f"t3vae.load(path, {', '.join(words)})" if words else None


def _in_a_script(model: Model) -> bool:
    """Whether the class of a model cannot be imported: of a script, or inside a function."""
    kind = type(model)
    return kind.__module__ == "__main__" or "." in kind.__qualname__


def fitted_tensors(distribution: TMixture) -> dict[str, np.ndarray]:
    """Return weights [K], loc [K, m], scale [K, m] and nu [K] of a fitted latent distribution."""
    return {name: getattr(distribution, name).detach().cpu().double().numpy() for name in _FITTED}


def set_fitted(model: Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Give the model the latent distribution ``fitted`` from tensors named ``fitted/...``.

    Raises:
        CheckpointError: a tensor is missing.
    """
    reference = next(model.parameters())
    try:
        parts = [
            torch.from_numpy(np.array(tensors[f"fitted/{name}"])).to(reference) for name in _FITTED
        ]
    except KeyError as error:
        raise CheckpointError(f"no tensor {error.args[0]!r}: run `t3vae sample` again.") from error
    model.set_fitted(TMixture(*parts))


def save(model: Model, path: Path | str, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights, description and fitted latent distribution to one file.

    A file holds no code. Where the model has custom networks or a family of a script, a warning
    says with which arguments :func:`load` reads the file; see :func:`needed`.

    Args:
        model: the model.
        path: file to write, by custom with the ending ``.safetensors``.
        metadata: more text for the header.

    Raises:
        DataError: a weight is not finite, or the file cannot be written.
        ConfigError: the model could not be built again from its ``hyperparameters()``.
    """
    check_model(model)
    description = _description(model)
    tensors = {}
    for name, value in model.state_dict().items():
        if value.dtype == torch.bfloat16:
            raise ConfigError(
                f"{name} is bfloat16, which the file cannot hold. Save model.float()."
            )
        tensors[f"weights/{name}"] = value.detach().cpu().numpy()
    if model._fitted is not None:
        distribution = fitted_tensors(model._fitted)
        tensors |= {f"fitted/{name}": value for name, value in distribution.items()}
    header = {"description": description, **(metadata or {})}
    files.write_tensors(Path(path), tensors, header)
    if model.custom_networks or _in_a_script(model):
        text = f"{path}: holds weights and no code. To read it: {needed(model)}."
        warnings.warn(text, stacklevel=2)


def _description(model: Model) -> str:
    """Return the description as JSON, if a model can be built from it.

    Raises:
        ConfigError: ``hyperparameters()`` holds what JSON cannot say, or what the class of the
            model does not take.
    """
    description = describe(model)
    name = type(model).__name__
    try:
        text = json.dumps(description, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}.hyperparameters(): holds what JSON cannot say ({error}), so the model could "
            "not be loaded again. Return numbers, text and lists."
        ) from error
    given = dict(description["model"])
    del given["family"]
    given |= {"classes": description["classes"]} if model.conditional else {}
    try:
        inspect.signature(type(model)).bind([1], 1, sigma=1.0, network=None, **given)
    except TypeError as error:
        raise ConfigError(
            f"{name}.hyperparameters() gives {', '.join(given) or 'nothing'}: not the arguments "
            f"that {name} is built with ({error}), so the model could not be loaded again. "
            "Return each parameter of the family under its name."
        ) from error
    return text


def load(
    path: Path | str,
    device: str | torch.device = "cpu",
    *,
    imports: bool = False,
    family: type[Model] | None = None,
    encoder: torch.nn.Module | None = None,
    decoder: torch.nn.Module | None = None,
) -> Model:
    """Rebuild a model from a file written by :func:`save`.

    Args:
        path: the file.
        device: where to put the weights, for example ``cuda:1``.
        imports: also follow the import paths of a family or network outside this package, which
            runs the code of its module; without it, such a module must have been imported before.
        family: class of the model, where its own cannot be imported.
        encoder, decoder: modules that take the weights of custom networks; they are changed.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, its weights are of
            another architecture, or it needs a class or module that is not given.
        ConfigError: the device cannot be used here.

    Example:
        >>> import tempfile
        >>> from t3vae.models.vae import VAE
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(VAE(2, 1), f"{folder}/model.safetensors")
        ...     load(f"{folder}/model.safetensors").latent_dim
        1
    """
    path = Path(path)
    if family is not None and not (isinstance(family, type) and issubclass(family, Model)):
        raise ConfigError(f"family = {shown(family)}: must be a class derived from Model.")
    device = accelerator.usable(device)
    modules = {"encoder": encoder, "decoder": decoder}
    given = {name: module for name, module in modules.items() if module is not None}
    try:
        header = files.read_tensors_header(path)
        tensors = files.read_tensors(path)
        description = json.loads(header["description"])
        if description["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: format {description['format']}, this version reads {FORMAT}. "
                "Train the model again, or use the version that wrote the file."
            )
        _check_given(path, description, given)
        if family is None:
            named = description["model"]["family"]
            _check_import(path, "family", named, imports)
            try:
                models.model_class(named)
            except ConfigError as error:
                if ":" not in str(named):
                    raise
                raise CheckpointError(
                    f"{path}: {error} Or give the class: t3vae.load(path, family=...)."
                ) from error
        if len(given) < len(modules):
            _check_import(path, "network", description["network"]["kind"], imports)
        model = models.build(
            description["model"],
            description["data_shape"],
            description["latent_dim"],
            sigma=description["sigma"],
            network=description["network"],
            classes=description.get("classes"),
            kind=family,
            **given,
        )
    except CheckpointError:
        raise
    except DataError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # whatever another's description makes of building
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if given or family is not None:
            raise CheckpointError(
                f"{path}: no model can be built with what was given ({first}). Give the class and "
                "modules that the model was built with."
            ) from error
        raise CheckpointError(
            f"{path}: not a checkpoint of this package ({first}). Train the model again."
        ) from error
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(value.copy())
        for name, value in tensors.items()
        if name.startswith("weights/")
    }
    model.to(next((v.dtype for v in weights.values() if v.is_floating_point()), None))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        names = " and ".join(given)
        remedy = f"Give the {names} that was saved." if given else "Train the model again."
        raise CheckpointError(
            f"{path}: weights of another architecture ({first}). {remedy}"
        ) from error
    model.to(device).eval()
    if "fitted/weights" in tensors:
        set_fitted(model, tensors)
    return model


def load_run(run_dir: Path | str, device: str | torch.device = "cpu") -> Model:
    """Rebuild the model of a training run from its folder."""
    return load(Path(run_dir) / "model.safetensors", device, imports=True)


def _check_given(path: Path, description: Any, given: Mapping[str, Any]) -> None:
    """Refuse a file whose custom networks are not given."""
    custom = description.get("custom", {})
    missing = [name for name in ("encoder", "decoder") if name in custom and name not in given]
    if missing:
        kinds = ", ".join(f"{name} ({custom[name]})" for name in missing)
        arguments = ", ".join(f"{name}=..." for name in missing)
        raise CheckpointError(
            f"{path}: its {kinds} is not known to the file, which holds no code. Build the same "
            f"module and give it: t3vae.load(path, {arguments})."
        )


def _check_import(path: Path, what: str, named: Any, imports: bool) -> None:
    """Refuse to run code that only the file names."""
    known: Mapping[str, Any] = FAMILIES if what == "family" else NETWORKS
    module = str(named).partition(":")[0]
    standard = module.partition(".")[0] in sys.stdlib_module_names
    if named in known or imports or (module in sys.modules and not standard):
        return
    raise CheckpointError(
        f"{path}: its {what} {named!r} lies outside this package, and loading it runs the code "
        f"of {module}. If you trust it, import that module first, or pass imports=True."
    )
