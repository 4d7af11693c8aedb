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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from t3vae import __version__
from t3vae.errors import T3VAEError

__all__ = ["main"]

Command = Callable[..., None]

_START = time.monotonic()
# Packages that a base installation does not have, by the name of their import.
_EXTRAS = {
    "workflow": ("pandas", "seaborn", "matplotlib", "jinja2", "snakemake", "dvc"),
    "images": ("torchvision", "sklearn", "PIL"),
}

_COMMON = [
    click.option(
        "--params",
        type=click.Path(path_type=Path),
        default=Path("params.yaml"),
        show_default=True,
        help="Parameter file.",
    ),
    click.option(
        "--root",
        type=click.Path(path_type=Path),
        default=Path(),
        show_default="current folder",
        help="Folder that holds data/ and results/.",
    ),
]
_JOB = [
    *_COMMON,
    click.option(
        "--config",
        default=None,
        metavar="JSON",
        help="Resolved configuration of the job; by default it is resolved from --params.",
    ),
]
_DEVICE = click.option(
    "--device",
    default=None,
    metavar="NAME",
    help="auto, cpu or cuda; by default the device of --params.",
)
_RUN = [
    click.option("--experiment", required=True, help="Name in `experiments` of the parameters."),
    click.option("--model", required=True, help="Name in `models` of the parameters."),
    click.option("--seed", required=True, type=int, help="Seed of the run."),
]


def _options(*options: Any) -> Callable[[Command], Command]:
    def decorate(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


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


@cli.command()
@_options(click.option("--dataset", required=True, help="Name in `datasets`."), *_JOB)
def prepare(dataset: str, params: Path, root: Path, config: str | None) -> None:
    """Make the arrays and the manifest of a data set."""
    _run("prepare", root, _config("prepare", config, params, dataset=dataset), dataset)


@cli.command()
@_options(click.option("--dataset", required=True, help="Name in `datasets`."), *_JOB, _DEVICE)
def extractor(
    dataset: str, params: Path, root: Path, config: str | None, device: str | None
) -> None:
    """Train the classifier whose features judge images of a data set."""
    resolved = _config("extractor", config, params, dataset=dataset)
    chosen = _device(device, params)
    _run("extractor", root, resolved, dataset, device=chosen)


def _run_verb(verb: str, text: str) -> None:
    @_options(*_RUN, *_JOB, _DEVICE)
    def command(
        experiment: str,
        model: str,
        seed: int,
        params: Path,
        root: Path,
        config: str | None,
        device: str | None,
    ) -> None:
        names = {"experiment": experiment, "model": model, "seed": seed}
        resolved = _config(verb, config, params, **names)
        chosen = _device(device, params)  # before torch is there
        _run(verb, root, resolved, experiment, model, seed, device=chosen)

    cli.command(name=verb, help=text)(command)


_run_verb("train", "Train one model with one seed; goes on where an earlier try was stopped.")
_run_verb("sample", "Draw from a trained model and fit its latent distribution.")
_run_verb("evaluate", "Compute all metrics of one run.")


@cli.command()
@_options(click.option("--experiment", required=True, help="Name in `experiments`."), *_JOB)
def collect(experiment: str, params: Path, root: Path, config: str | None) -> None:
    """Gather the runs of an experiment into tables."""
    resolved = _config("collect", config, params, experiment=experiment)
    _run("collect", root, resolved, experiment)


@cli.command()
@_options(
    click.option("--experiment", required=True, help="Name in `experiments`."),
    click.option("--name", required=True, help="Name of the figure."),
    *_JOB,
)
def figure(experiment: str, name: str, params: Path, root: Path, config: str | None) -> None:
    """Draw one figure from the tables of its experiment."""
    resolved = _config("figure", config, params, experiment=experiment, name=name)
    _run("figure", root, resolved, experiment, name)


@cli.command()
@_options(*_JOB)
def report(params: Path, root: Path, config: str | None) -> None:
    """Write the report page."""
    _run("report", root, _config("report", config, params))


@cli.command()
@_options(*_COMMON)
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
@_options(*_COMMON)
def plan(params: Path, root: Path) -> None:
    """Write the plan files (plan/): what the jobs of each DVC stage are made from."""
    from t3vae.settings import parameters
    from t3vae.workflow import plan_files
    from t3vae.workflow.plan import Plan

    sys.path.append(str(params.resolve().parent))  # custom models lie beside the parameters
    plan_files.write(root, Plan(parameters.load(params)))


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
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
@_options(_COMMON[0])
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
    except ModuleNotFoundError as error:
        text = _of_an_extra(error)
        if text is None:
            raise
        click.echo(f"t3vae: {text}", err=True)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stdout = None
        sys.exit(1)
    except (MemoryError, RuntimeError, OSError) as error:
        text = _of_the_machine(error)
        if text is None:
            raise
        click.echo(f"t3vae: {text}", err=True)
        sys.exit(1)


def _of_an_extra(error: ModuleNotFoundError) -> str | None:
    """Return which extra holds a package that is not installed, or None for another module."""
    package = str(error.name).partition(".")[0]
    extra = next((name for name, modules in _EXTRAS.items() if package in modules), None)
    if extra is None:
        return None
    return (
        f"{package} is not installed, which this step needs. It belongs to the extra {extra!r}: "
        f"pip install 't3vae[{extra}]'."
    )


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
