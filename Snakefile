# t3vae: params -> data -> runs -> samples -> metrics -> tables -> figures -> report.
# `snakemake -j4` makes every result of the suite that params.yaml names.

from snakemake.utils import min_version

min_version("9.0")


container: "docker://python:3.11-slim"  # documents the environment; used only with --sdm apptainer


include: "rules/common.smk"


wildcard_constraints:
    experiment="|".join(PLAN.all_experiments),
    model="|".join(PLAN.parameters.models) or "(?!)",
    seed=r"0|[1-9]\d*",
    name="[a-z][a-z0-9_]*",


onstart:
    plan_files.write(Path.cwd(), PLAN)
    print(
        disk.start_message(PLAN, Path.cwd()),
        *PLAN.parameters.notes,
        sep="\n",
        file=sys.stderr,
    )


# Every output of every verb, so that nothing is taken for made because what follows is there.
rule all:
    default_target: True
    input:
        outputs_of(
            "prepare",
            "extractor",
            "train",
            "sample",
            "evaluate",
            "collect",
            "figure",
            "report",
        ),
    localrule: True
    message:
        "up to date"


include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/results.smk"
