# Data: arrays of each data set and the manifest that speaks for them.

for dataset in PLAN.parameters.datasets:

    rule:
        name:
            f"prepare_{dataset}"
        output:
            PLAN.prepare(dataset).outputs,
        log:
            f"logs/prepare/{dataset}.log",
        benchmark:
            f"logs/benchmark/prepare.{dataset}.tsv"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            dataset=dataset,
            config=lambda wildcards, dataset=dataset: PLAN.prepare(dataset).json,
            code=lambda wildcards, dataset=dataset: PLAN.prepare(dataset).code,
        message:
            "prepare {params.dataset}"
        shell:
            "python -m t3vae prepare --dataset {params.dataset} --config {params.config:q} > {log} 2>&1"


rule prepare_all:
    input:
        outputs_of("prepare"),
    localrule: True
    message:
        "prepare: all there"
