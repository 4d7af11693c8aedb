"""Every job of the workflow: its verb, configuration, code, inputs and outputs.

The rules of the workflow and ``t3vae check`` both read this page, so that what is run
and what is checked cannot drift apart. A job is one verb for one data set, one
(experiment, model, seed), one experiment, one figure, or the report.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from t3vae import datasets, tables
from t3vae.provenance import digests
from t3vae.runtime import layout
from t3vae.workflow import jobs

__all__ = ["Job", "Plan"]

RUN_SPLITS = {
    "train": ("train", "validation"),
    "sample": ("train", "test"),
    "evaluate": ("train", "test"),
    "extractor": ("train", "full_train", "test"),
}
USUAL = {"train": 720, "sample": 120, "evaluate": 240, "extractor": 240}  # minutes


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        verb: name of the stage.
        names: what the job is about, such as ``{"experiment": "univariate"}``.
        config: its resolved configuration.
        uses: configurations of earlier jobs whose code runs in this one.
        inputs: files that it reads and that trigger it.
        arrays: files that it reads and that do not: a manifest speaks for them.
        outputs: files that it writes.
        witness: the output that carries the provenance.
    """

    verb: str
    names: Mapping[str, Any]
    config: Mapping[str, Any]
    outputs: tuple[str, ...]
    witness: str
    inputs: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    uses: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def json(self) -> str:
        """The configuration as canonical JSON: what the command line gets."""
        return digests.canonical_json(self.config)

    @cached_property
    def code(self) -> str:
        """The digest of the sources that the job runs."""
        return digests.source_digest(self.verb, self.config, self.uses)

    @property
    def label(self) -> str:
        """Verb and names, for messages.

        Example:
            >>> Job("collect", {"experiment": "univariate"}, {}, (), "").label
            'collect univariate'
        """
        return " ".join([self.verb, *(str(name) for name in self.names.values())])


def _once(method: Callable[..., Job]) -> Callable[..., Job]:
    """Make a job when it is asked for first, and keep it."""

    @functools.wraps(method)
    def job(self: Plan, *names: Any, **named: Any) -> Job:
        key = (method.__name__, *names, *named.values())
        if key not in self._jobs:
            self._jobs[key] = method(self, *names, **named)
        return self._jobs[key]

    return job


class Plan:
    """The jobs of validated parameters; each is made when it is asked for, once.

    Args:
        parameters: what :func:`t3vae.settings.parameters.load` returned.
    """

    def __init__(self, parameters: Any) -> None:
        self.parameters = parameters
        self._jobs: dict[tuple[Any, ...], Job] = {}

    # --- what there is ---

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments of the chosen suite."""
        return list(self.parameters.suites[self.parameters.suite])

    @property
    def all_experiments(self) -> list[str]:
        """Names of all experiments, whether in the suite or not."""
        return list(self.parameters.experiments)

    def datasets(self) -> list[str]:
        """Names of the data sets of the suite, each once."""
        return list(dict.fromkeys(self.collect(e).config["dataset"] for e in self.experiments))

    def extractors(self, experiments: Sequence[str] | None = None) -> list[str]:
        """Names of the data sets whose classifier an experiment needs; by default of the suite."""
        needed = [
            self.collect(name).config["dataset"]
            for name in (self.experiments if experiments is None else experiments)
            if "classifier" in jobs.extracted(self.parameters, name)
        ]
        return list(dict.fromkeys(needed))

    def resources(self, verb: str, experiment: str) -> dict[str, int]:
        """Return memory (``mem_mb``) and time (``runtime``, minutes) of one job."""
        wanted = self.parameters.experiments[experiment].resources
        return wanted.model_dump() if wanted else {"mem_mb": 4000, "runtime": USUAL[verb]}

    def data_resources(self, verb: str, dataset: str) -> dict[str, int]:
        """Return memory and time of a job that serves every experiment with a data set."""
        found = {"mem_mb": 4000, "runtime": USUAL["extractor"]}
        if verb == "prepare":
            found = {"mem_mb": 2000, "runtime": 60}
        for entry in self.parameters.experiments.values():
            if entry.dataset == dataset and entry.resources:
                wanted = entry.resources.model_dump()
                found = {key: max(found[key], wanted[key]) for key in found}
        return found

    def runs(self, experiment: str) -> list[tuple[str, int]]:
        """Return (model, seed) of every run of an experiment."""
        config = self.collect(experiment).config
        return [(model, seed) for model in config["models"] for seed in config["seeds"]]

    def figures(self, experiment: str) -> list[str]:
        """Return the names of the figures of an experiment."""
        return list(self.collect(experiment).config["figures"])

    def jobs(self) -> list[Job]:
        """Return every job of the suite, in the order in which results depend on each other."""
        found = [self.prepare(dataset) for dataset in self.datasets()]
        found += [self.extractor(dataset) for dataset in self.extractors()]
        for step in (self.train, self.sample, self.evaluate):
            for experiment in self.experiments:
                found += [step(experiment, *run) for run in self.runs(experiment)]
        found += [self.collect(experiment) for experiment in self.experiments]
        for experiment in self.experiments:
            found += [self.figure(experiment, name) for name in self.figures(experiment)]
        return [*found, self.report()]

    def all_outputs(self) -> frozenset[str]:
        """Return every output of every experiment, whether in the suite or not."""
        found = {self.report().outputs[0]}
        for dataset in self.parameters.datasets:
            found.update(self.prepare(dataset).outputs)
        for dataset in self.extractors(self.all_experiments):
            found.update(self.extractor(dataset).outputs)
        for experiment in self.all_experiments:
            found.update(self.collect(experiment).outputs)
            for name in self.figures(experiment):
                found.update(self.figure(experiment, name).outputs)
            for run in self.runs(experiment):
                for step in (self.train, self.sample, self.evaluate):
                    found.update(step(experiment, *run).outputs)
        return frozenset(found)

    # --- one job each ---

    @_once
    def prepare(self, dataset: str) -> Job:
        """Return the job that prepares a data set."""
        config = jobs.config("prepare", self.parameters, dataset)
        manifest = layout.manifest(dataset)
        arrays = (layout.prepared(dataset, name) for name in datasets.names(config))
        return Job("prepare", {"dataset": dataset}, config, (*arrays, manifest), manifest)

    @_once
    def extractor(self, dataset: str) -> Job:
        """Return the job that trains the classifier of a data set."""
        outputs = layout.extractor(dataset)
        return Job(
            "extractor",
            {"dataset": dataset},
            jobs.config("extractor", self.parameters, dataset),
            outputs,
            witness=outputs[1],
            inputs=(layout.manifest(dataset),),
            arrays=self._arrays(dataset, RUN_SPLITS["extractor"]),
        )

    def train(self, experiment: str, model: str, seed: int) -> Job:
        """Return the job that trains one model with one seed."""
        return self._run("train", experiment, model, int(seed))

    def sample(self, experiment: str, model: str, seed: int) -> Job:
        """Return the job that draws from one trained model."""
        return self._run("sample", experiment, model, int(seed))

    def evaluate(self, experiment: str, model: str, seed: int) -> Job:
        """Return the job that computes all metrics of one run."""
        return self._run("evaluate", experiment, model, int(seed))

    @_once
    def collect(self, experiment: str) -> Job:
        """Return the job that gathers the tables of an experiment."""
        config = jobs.config("collect", self.parameters, experiment)
        dataset = config["dataset"]
        inputs = [layout.manifest(dataset)]
        for run in itertools.product(config["models"], config["seeds"]):
            inputs += [
                layout.metrics(experiment, *run),
                layout.samples(experiment, *run),
                layout.run_file(experiment, *run, "history.csv"),
                layout.run_file(experiment, *run, "provenance.json"),
            ]
        return Job(
            "collect",
            {"experiment": experiment},
            config,
            outputs=(
                *(layout.table(experiment, name) for name in tables.outputs(config)),
                *(layout.headline(experiment, model) for model in config["models"]),
                *([layout.loss_history(experiment)] if config["models"] else []),
            ),
            witness=layout.table(experiment, "provenance.json"),
            inputs=tuple(inputs),
            arrays=self._arrays(dataset, ("",)),
            uses=(self.prepare(dataset).config,),
        )

    @_once
    def figure(self, experiment: str, name: str) -> Job:
        """Return the job that draws one figure."""
        config = jobs.config("figure", self.parameters, experiment, name)
        outputs = tuple(layout.figure(experiment, name, ending) for ending in ("pdf", "png"))
        names = {"experiment": experiment, "name": name}
        inputs = tuple(layout.table(experiment, table) for table in tables.reads(name))
        return Job("figure", names, config, outputs, outputs[-1], inputs)

    @_once
    def report(self) -> Job:
        """Return the job that writes the page of the suite."""
        inputs: list[str] = []
        for experiment in self.experiments:
            inputs += self.collect(experiment).outputs
            for name in self.figures(experiment):
                inputs += self.figure(experiment, name).outputs
            for run in self.runs(experiment):
                inputs.append(layout.run_file(experiment, *run, "provenance.json"))
        config, page = jobs.config("report", self.parameters), layout.report()
        return Job("report", {}, config, (page,), page, tuple(inputs))

    # --- pieces ---

    @_once
    def _run(self, verb: str, experiment: str, model: str, seed: int) -> Job:
        run = (experiment, model, seed)
        config = jobs.config(verb, self.parameters, *run)
        dataset = config["dataset"]
        files = {name: layout.run_file(*run, name) for name in layout.RUN_FILES}
        inputs = [layout.manifest(dataset)]
        uses: list[Mapping[str, Any]] = []
        witness = files["provenance.json"]
        if verb != "train":
            inputs += [files["model.safetensors"], files["config.json"]]
            uses.append(self.train(*run).config)
            witness = layout.samples(*run)
        if verb == "evaluate":
            inputs.append(layout.samples(*run))
            if "classifier" in config.get("extractors", {}):
                inputs += layout.extractor(dataset)
            uses.append(self.prepare(dataset).config)
            witness = layout.metrics(*run)
        return Job(
            verb,
            {"experiment": experiment, "model": model, "seed": seed},
            config,
            outputs=tuple(files.values()) if verb == "train" else (witness,),
            witness=witness,
            inputs=tuple(inputs),
            arrays=self._arrays(dataset, RUN_SPLITS[verb]),
            uses=tuple(uses),
        )

    def _arrays(self, dataset: str, splits: tuple[str, ...]) -> tuple[str, ...]:
        """Return the prepared files whose names begin with a split, without the manifest."""
        *arrays, _ = self.prepare(dataset).outputs
        return tuple(path for path in arrays if PurePosixPath(path).name.startswith(splits))
