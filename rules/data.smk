# Data: arrays of each data set and the manifest that speaks for them; of images also the
# classifier whose features judge them.

for dataset in PLAN.parameters.datasets:

    rule:
        name:
            f"prepare_{dataset}"
        output:
            PLAN.prepare(dataset).outputs,
        log:
            f"logs/prepare/{dataset}.log",
        threads: 1
        resources:
            mem_mb=PLAN.data_resources("prepare", dataset)["mem_mb"],
            runtime=PLAN.data_resources("prepare", dataset)["runtime"],
        params:
            dataset=dataset,
            config=lambda wildcards, dataset=dataset: PLAN.prepare(dataset).json,
            code=lambda wildcards, dataset=dataset: PLAN.prepare(dataset).code,
            raw=lambda wildcards, dataset=dataset: raw_of(dataset),
        message:
            "prepare {params.dataset}"
        shell:
            "python -m t3vae prepare --dataset {params.dataset} --config {params.config:q} > {log} 2>&1"


rule extractor:
    input:
        manifest=inputs_of("extractor"),
        arrays=arrays_of("extractor"),
    output:
        layout.extractor("{dataset}"),
    log:
        "logs/extractor/{dataset}.log",
    wildcard_constraints:
        dataset="|".join(PLAN.extractors(PLAN.all_experiments)) or "(?!)",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=data_resource_of("extractor", "mem_mb"),
        runtime=data_resource_of("extractor", "runtime"),
    params:
        config=config_of("extractor"),
        code=code_of("extractor"),
    message:
        "extractor {wildcards.dataset}"
    shell:
        "python -m t3vae extractor --dataset {wildcards.dataset} --config {params.config:q}"
        " --device $T3VAE_DEVICE > {log} 2>&1"


rule prepare_all:
    input:
        outputs_of("prepare", "extractor"),
    localrule: True
    message:
        "prepare: up to date"
