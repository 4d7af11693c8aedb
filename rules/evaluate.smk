# Samples and metrics of each run.


rule sample:
    input:
        run=inputs_of("sample"),
        arrays=arrays_of("sample"),
    output:
        "results/samples/{experiment}/{model}/seed{seed}.safetensors",
    log:
        "logs/sample/{experiment}.{model}.seed{seed}.log",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=resource_of("sample", "mem_mb"),
        runtime=resource_of("sample", "runtime"),
    params:
        config=config_of("sample"),
        code=code_of("sample"),
    message:
        "sample {wildcards.experiment} {wildcards.model} seed {wildcards.seed}"
    shell:
        "python -m t3vae sample --experiment {wildcards.experiment} --model {wildcards.model}"
        " --seed {wildcards.seed} --config {params.config:q} --device $T3VAE_DEVICE > {log} 2>&1"


rule evaluate:
    input:
        run=inputs_of("evaluate"),
        arrays=arrays_of("evaluate"),
    output:
        "results/metrics/{experiment}/{model}/seed{seed}.json",
    log:
        "logs/evaluate/{experiment}.{model}.seed{seed}.log",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=resource_of("evaluate", "mem_mb"),
        runtime=resource_of("evaluate", "runtime"),
    params:
        config=config_of("evaluate"),
        code=code_of("evaluate"),
    message:
        "evaluate {wildcards.experiment} {wildcards.model} seed {wildcards.seed}"
    shell:
        "python -m t3vae evaluate --experiment {wildcards.experiment} --model {wildcards.model}"
        " --seed {wildcards.seed} --config {params.config:q} --device $T3VAE_DEVICE > {log} 2>&1"


rule sample_all:
    input:
        outputs_of("sample"),
    localrule: True
    message:
        "sample: up to date"


rule evaluate_all:
    input:
        outputs_of("evaluate"),
    localrule: True
    message:
        "evaluate: up to date"
