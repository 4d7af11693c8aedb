# Runs: one training for each experiment, model and seed.


rule train:
    input:
        manifest=inputs_of("train"),
        arrays=arrays_of("train"),
    output:
        model="results/runs/{experiment}/{model}/seed{seed}/model.safetensors",
        config="results/runs/{experiment}/{model}/seed{seed}/config.json",
        history="results/runs/{experiment}/{model}/seed{seed}/history.csv",
        provenance="results/runs/{experiment}/{model}/seed{seed}/provenance.json",
    log:
        "logs/train/{experiment}.{model}.seed{seed}.log",
    threads: 1
    resources:
        gpu=GPU,
        mem_mb=resource_of("train", "mem_mb"),
        runtime=resource_of("train", "runtime"),
    params:
        config=config_of("train"),
        code=code_of("train"),
    message:
        "train {wildcards.experiment} {wildcards.model} seed {wildcards.seed}"
    shell:
        "python -m t3vae train --experiment {wildcards.experiment} --model {wildcards.model}"
        " --seed {wildcards.seed} --config {params.config:q} --device $T3VAE_DEVICE > {log} 2>&1"


rule train_all:
    input:
        outputs_of("train"),
    localrule: True
    message:
        "train: up to date"
