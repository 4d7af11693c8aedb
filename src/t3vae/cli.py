"""The command line: one verb for each step of the workflow, and a few for people.

No verb imports torch before it needs it, so that help is there at once. A user's mistake
ends with status 2 and a failed run with status 1, each with its message and no traceback.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import click

from t3vae import __version__
from t3vae.errors import T3VAEError

__all__ = ["main"]

_START = time.monotonic()
# Packages that a base installation does not have, by the name of their import.
_EXTRAS = {
    "workflow": ("pandas", "seaborn", "matplotlib", "jinja2", "snakemake", "dvc"),
    "images": ("torchvision", "sklearn", "PIL"),
}

_PATH = click.Path(path_type=Path)
_PARAMS = click.option(
    "--params", type=_PATH, default=Path("params.yaml"), show_default=True, help="Parameter file."
)
_ROOT = click.option(
    "--root",
    type=_PATH,
    default=Path(),
    show_default="current folder",
    help="Folder that holds data/ and results/.",
)
_CONFIG = click.option(
    "--config",
    metavar="JSON",
    help="Resolved configuration of the job; by default it is resolved from --params.",
)
_DEVICE = click.option(
    "--device",
    metavar="NAME",
    help="auto, cpu or cuda; by default the device of --params.",
)
_NAMES = {
    "dataset": click.option("--dataset", required=True, help="Name in `datasets`."),
    "experiment": click.option("--experiment", required=True, help="Name in `experiments`."),
    "model": click.option("--model", required=True, help="Name in `models`."),
    "seed": click.option("--seed", required=True, type=int, help="Seed of the run."),
    "name": click.option("--name", required=True, help="Name of the figure."),
}
_RUN = ("experiment", "model", "seed")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="t3vae")
def cli() -> None:
    """Heavy-tailed variational autoencoders: train, sample, measure, draw.

    The steps, in order: prepare, extractor (images only), train, sample, evaluate, collect,
    figure, report. Each is one job of the workflow and can be run by hand. `snakemake -j4` runs
    what is missing.
    """


def _run(verb: str, *arguments: Any, **options: Any) -> None:
    """Run a step, and say what it took; one that fails says why, and nothing else."""
    step = importlib.import_module(f"t3vae.stages.{verb}").run
    if not gc.isenabled():  # switched off by __main__ while modules are loaded
        gc.freeze()
        gc.enable()
    step(*arguments, **options)
    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    click.echo(
        f"t3vae: {verb}: {used.ru_utime + used.ru_stime:.1f} CPU seconds in "
        f"{time.monotonic() - _START:.1f} s, at most {memory:.0f} MiB of memory",
        err=True,
    )


def _config(verb: str, given: str | None, params: Path, **names: Any) -> dict[str, Any]:
    """Return the configuration of a job: what --config says, or resolved from the parameters."""
    from t3vae.settings import parameters
    from t3vae.workflow import jobs

    jobs.check_names(**{key: name for key, name in names.items() if isinstance(name, str)})
    if given is not None:
        return jobs.parse(verb, given)
    return jobs.config(verb, parameters.load(params), *names.values())


def _device(given: str | None, params: Path) -> str:
    """Return ``cpu`` or ``cuda``; of several accelerators, the process then sees its own."""
    from t3vae.runtime import device
    from t3vae.settings import parameters

    chosen = device.resolve(given if given is not None else parameters.load(params).device)
    if chosen == "cuda":
        device.claim()
    return chosen


def _step(verb: str, text: str, *names: str, computes: bool = False) -> None:
    """Add the command of a step, whose job has these names."""

    def command(
        params: Path, root: Path, config: str | None, device: str | None = None, **given: Any
    ) -> None:
        job = {name: given[name] for name in names}
        resolved = _config(verb, config, params, **job)
        more = {"device": _device(device, params)} if computes else {}  # before torch is there
        _run(verb, root, resolved, *job.values(), **more)

    options = [*(_NAMES[name] for name in names), _PARAMS, _ROOT, _CONFIG]
    for option in reversed([*options, _DEVICE] if computes else options):
        command = option(command)
    cli.command(name=verb, help=text)(command)


_step("prepare", "Make the arrays and the manifest of a data set.", "dataset")
_step(
    "extractor",
    "Train the classifier whose features judge images of a data set.",
    "dataset",
    computes=True,
)
_step(
    "train",
    "Train one model with one seed; goes on where an earlier try was stopped.",
    *_RUN,
    computes=True,
)
_step("sample", "Draw from a trained model and fit its latent distribution.", *_RUN, computes=True)
_step("evaluate", "Compute all metrics of one run.", *_RUN, computes=True)
_step("collect", "Gather the runs of an experiment into tables.", "experiment")
_step("figure", "Draw one figure from the tables of its experiment.", "experiment", "name")
_step("report", "Write the report page.")


@cli.command()
@_PARAMS
@_ROOT
@click.option("--records", is_flag=True, help="Demand a Snakemake record for every result too.")
@click.option(
    "--verb",
    "verbs",
    multiple=True,
    metavar="VERB",
    help="Check the results of this step only, and no orphans; may be repeated.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Move orphaned results to scratch/retired/; remove saved states that no training needs.",
)
@click.option("--verbose", is_flag=True, help="List every result, however many.")
def check(
    params: Path, root: Path, records: bool, verbs: tuple[str, ...], prune: bool, verbose: bool
) -> None:
    """Name stale, missing and orphaned results, and why; end with a summary."""
    from t3vae.workflow.check import run as run_check

    sys.exit(run_check(root, params, records=records, prune=prune, verbs=verbs, verbose=verbose))


@cli.command()
@_PARAMS
@_ROOT
def plan(params: Path, root: Path) -> None:
    """Write the plan files (plan/): what the jobs of each DVC stage are made from."""
    from t3vae.settings import parameters
    from t3vae.workflow import plan_files
    from t3vae.workflow.plan import Plan

    sys.path.append(str(params.resolve().parent))  # custom models lie beside the parameters
    plan_files.write(root, Plan(parameters.load(params)))


@cli.command()
@click.argument("file", required=False, type=_PATH)
def verify(file: Path | None) -> None:
    """Evaluate test vectors with this package's functions."""
    from t3vae.stages.verify import verify as run_verify

    sys.exit(run_verify(file))


@cli.command()
@click.option("--nu", type=float, required=True, help="Degrees of freedom, greater than 2.")
@click.option("--n", type=int, required=True, help="Data dimension.")
@click.option("--m", type=int, required=True, help="Latent dimension.")
@click.option("--sigma", type=float, default=1.0, show_default=True, help="Decoder scale.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def constants(nu: float, n: int, m: int, sigma: float, as_json: bool) -> None:
    """Print the constants of the objective and of the alternative prior."""
    from t3vae.maths.constants import gamma_constants, high_dimension_limit

    values = gamma_constants(nu, n, m, sigma).to_dict()
    values["high_dimension_limit"] = high_dimension_limit(sigma)
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name:<{width}}  {value:.12g}")


@cli.command(name="params")
@click.argument("experiment", required=False)
@_PARAMS
@click.option("--json", "as_json", is_flag=True, help="Print the checked values as JSON.")
@click.option(
    "--config",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Replace a value, as `snakemake --config` does; may be repeated.",
)
def show_params(
    experiment: str | None, params: Path, as_json: bool, overrides: tuple[str, ...]
) -> None:
    """Check the parameter file and list every parameter with its meaning and range.

    With an EXPERIMENT, list what it resolves to instead, and where each value comes from.
    """
    from t3vae.settings import parameters
    from t3vae.settings.explain import explain

    given = parameters.overrides(overrides)
    if experiment is not None and as_json:
        raise click.UsageError("--json prints all experiments. Omit EXPERIMENT.")
    if experiment is not None:
        click.echo(explain(params, experiment, given))
        return
    loaded = parameters.load(params, given)
    if as_json:
        click.echo(json.dumps(loaded.model_dump(mode="json"), indent=1))
    else:
        click.echo(parameters.describe())
    for note in loaded.notes:
        click.echo(f"t3vae: {note}", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the console script ``t3vae``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that the locale cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(arguments, prog_name="t3vae", standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("t3vae: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except T3VAEError as error:
        for line in str(error).splitlines():
            click.echo(f"t3vae: {line}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = None
        sys.exit(1)
    except (ModuleNotFoundError, MemoryError, RuntimeError, OSError) as error:
        text = (
            _of_an_extra(error)
            if isinstance(error, ModuleNotFoundError)
            else _of_the_machine(error)
        )
        if text is None:
            raise
        click.echo(f"t3vae: {text}", err=True)
        sys.exit(1)


def _of_an_extra(error: ModuleNotFoundError) -> str | None:
    """Return which extra holds a package that is not installed, or None for another module."""
    package = str(error.name).partition(".")[0]
    for extra, modules in _EXTRAS.items():
        if package in modules:
            return (
                f"{package} is not installed, which this step needs. It belongs to the extra "
                f"{extra!r}: pip install 't3vae[{extra}]'."
            )
    return None


def _of_the_machine(error: Exception) -> str | None:
    """Return the message of an error that the machine caused, or None where it is a defect."""
    text = str(error).splitlines()[0] if str(error) else ""
    if isinstance(error, MemoryError) or re.search(r"out of memory|allocate memory", text):
        return f"out of memory ({text}). Use smaller batches or sizes, or a larger machine."
    if isinstance(error, OSError):
        return f"{text}. Check the rights and the free space of the folder, then run again."
    return None


if __name__ == "__main__":
    main()
