# Tables, figures and the report: light jobs, done where Snakemake runs.

for experiment in PLAN.all_experiments:

    rule:
        name:
            f"collect_{experiment}"
        input:
            runs=PLAN.collect(experiment).inputs,
            arrays=[ancient(path) for path in PLAN.collect(experiment).arrays],
        output:
            PLAN.collect(experiment).outputs,
        log:
            f"logs/collect/{experiment}.log",
        localrule: True
        threads: 1
        params:
            experiment=experiment,
            config=lambda wildcards, experiment=experiment: PLAN.collect(
                experiment
            ).json,
            code=lambda wildcards, experiment=experiment: PLAN.collect(experiment).code,
        message:
            "collect {params.experiment}"
        shell:
            "python -m t3vae collect --experiment {params.experiment}"
            " --config {params.config:q} > {log} 2>&1"


rule figure:
    input:
        inputs_of("figure"),
    output:
        pdf="results/figures/{experiment}/{name}.pdf",
        png=report(
            "results/figures/{experiment}/{name}.png",
            category="{experiment}",
            labels={"figure": "{name}"},
        ),
    log:
        "logs/figure/{experiment}.{name}.log",
    localrule: True
    threads: 1
    params:
        config=config_of("figure"),
        code=code_of("figure"),
    message:
        "figure {wildcards.experiment} {wildcards.name}"
    shell:
        "python -m t3vae figure --experiment {wildcards.experiment} --name {wildcards.name}"
        " --config {params.config:q} > {log} 2>&1"


rule report:
    input:
        PLAN.report().inputs,
    output:
        PLAN.report().outputs,
    log:
        "logs/report.log",
    localrule: True
    threads: 1
    params:
        config=config_of("report"),
        code=code_of("report"),
    message:
        "report"
    shell:
        "python -m t3vae report --config {params.config:q} > {log} 2>&1"


rule tables_all:
    input:
        outputs_of("collect"),
    localrule: True
    message:
        "tables: up to date"


rule figures_all:
    input:
        outputs_of("figure"),
    localrule: True
    message:
        "figures: up to date"
