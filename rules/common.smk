# Parameters, the plan of all jobs, and what every job gets. No rules.

import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)  # the code beside this Snakefile is the code that runs
SOURCE = ROOT / "src"
CONFIGFILES = [Path(path) for path in workflow.config_settings.configfiles]
PARAMS = CONFIGFILES[0] if CONFIGFILES else ROOT / "params.yaml"
UNDER_DVC = bool(os.environ.get("DVC_STAGE"))  # DVC tells the commands of its stages
OWN = str(PARAMS.parent.resolve())  # custom models lie beside the parameters
sys.path[:] = [str(SOURCE), *sys.path, OWN]

from t3vae.workflow import check, disk, plan_files

from t3vae.datasets import raw_input
from t3vae.runtime import device, layout
from t3vae.settings import parameters
from t3vae.errors import ConfigError, T3VAEError
from t3vae.workflow.plan import Plan


def prepended(variable, *folders):
    """Return the search path of an environment variable with folders put first."""
    old = os.environ.get(variable, "").split(os.pathsep)
    return os.pathsep.join([*folders, *(o for o in old if o and o not in folders)])


def refuse_divided(*folders):
    """Stop where a search path would divide the name of a folder, and other code would run."""
    for folder in folders:
        if os.pathsep in folder:
            print(
                f"{folder}: a folder with `{os.pathsep}` in its path. Search paths (PATH, "
                "PYTHONPATH) divide it there, so that jobs would run other code. Rename or "
                "move it.",
                file=sys.stderr,
            )
            raise SystemExit(2)


def read_plan():
    """Read and check params.yaml with the overrides of the command line, or stop."""
    overrides = dict(workflow.config_settings.config)
    if UNDER_DVC:
        overrides[parameters.UNDER_DVC] = 1
    try:
        if len(CONFIGFILES) > 1:
            raise ConfigError("--configfile: give one file, not several.")
        if UNDER_DVC and PARAMS.resolve() != (ROOT / "params.yaml").resolve():
            raise ConfigError(
                f"--configfile {PARAMS}: not allowed under DVC, which locks results under the "
                "numbers of params.yaml. Change params.yaml instead."
            )
        plan = Plan(parameters.load(PARAMS, overrides=overrides))
        for job in plan.jobs():  # a source that cannot be read is a mistake, too
            job.json, job.code
        if UNDER_DVC and workflow.is_main_process:
            check.refuse_unrecorded(Path.cwd(), plan)
        return plan
    except T3VAEError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


BIN = str(Path(sys.executable).parent)
refuse_divided(BIN, str(SOURCE), OWN)
PLAN = read_plan()
GPU = 1 if device.resolve(PLAN.parameters.device) == "cuda" else 0
JOBS = PLAN.jobs()

# Every job runs `python -m t3vae` of this interpreter with this source, on one thread, so
# that bytes depend neither on -j nor on what else is installed. On a cluster the job reads
# this file again and gets the same.
os.environ.update(
    PATH=prepended("PATH", BIN),
    PYTHONPATH=prepended("PYTHONPATH", str(SOURCE), OWN),
    T3VAE_DEVICE=PLAN.parameters.device,  # not a parameter: a change reruns nothing
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
    NUMEXPR_NUM_THREADS="1",
)


def job_of(verb):
    """Return a function from wildcards to the job of a verb."""

    def find(wildcards):
        return getattr(PLAN, verb)(**dict(wildcards.items()))

    return find


def inputs_of(verb):
    """Return the input function of a verb: what triggers it."""
    return lambda wildcards: list(job_of(verb)(wildcards).inputs)


def arrays_of(verb):
    """Return the input function of a verb: arrays, for which their manifest speaks."""
    return lambda wildcards: [ancient(path) for path in job_of(verb)(wildcards).arrays]


def config_of(verb):
    """Return the parameter function of a verb: all settings that its job depends on."""
    return lambda wildcards: job_of(verb)(wildcards).json


def code_of(verb):
    """Return the parameter function of a verb: digest of the sources that its job runs."""
    return lambda wildcards: job_of(verb)(wildcards).code


def raw_of(dataset):
    """Return the digest of the user's files that a data set is read from, or stop."""
    try:
        return raw_input.trigger(PLAN.prepare(dataset).config, Path.cwd())
    except T3VAEError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def resource_of(verb, resource):
    """Return the resource function of a verb: memory or time of its experiment's jobs."""
    return lambda wildcards: PLAN.resources(verb, wildcards.experiment)[resource]


def data_resource_of(verb, resource):
    """Return the resource function of a verb: memory or time of a data set's job."""
    return lambda wildcards: PLAN.data_resources(verb, wildcards.dataset)[resource]


def outputs_of(*verbs):
    """Return every output of some verbs in the suite."""
    return [path for job in JOBS if job.verb in verbs for path in job.outputs]
