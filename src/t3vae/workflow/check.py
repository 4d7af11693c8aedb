"""Check results: which are stale, missing or orphaned, and why. Reads only, unless pruning.

A result is *stale* when its provenance names other settings, code or inputs than the
parameters, sources and files of now, or when it follows a stale result; *missing* when
the suite wants it and it is not there; *orphaned* when no experiment of the parameters
has such a model, seed, table or figure.
"""

from __future__ import annotations

import json
import os
import re
import sys
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from html import unescape
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from t3vae.datasets import raw_input
from t3vae.errors import ConfigError, DataError
from t3vae.provenance import digests
from t3vae.provenance.figure_metadata import read_provenance
from t3vae.runtime import files, layout
from t3vae.runtime.scratch import Scratch
from t3vae.settings import parameters
from t3vae.settings.problems import dotted, leaves
from t3vae.workflow import plan_files
from t3vae.workflow.plan import Job, Plan

__all__ = ["Finding", "examine", "prune_orphans", "prune_states", "refuse_unrecorded", "run"]

RECORDS = ".snakemake/metadata"
UNFINISHED = ".snakemake/incomplete"
RETIRED = "scratch/retired"
SHOWN = 3  # lines about results without a record; they are usually many
LISTED = 10  # lines of each other kind, unless all are asked for
VERBS = ("prepare", "extractor", "train", "sample", "evaluate", "collect", "figure", "report")
# Steps whose results come from the cache of DVC; those of the others lie in Git, without records.
CACHED = VERBS[:5]
REMEDY = (
    f"`dvc checkout {RECORDS}` brings the records of Snakemake back (`dvc pull {RECORDS}` in a "
    "clone), without which it takes old results for new ones. If there are none, move those "
    "results away and run again."
)
UNRECORDED = (
    "Snakemake has no record of it and cannot tell whether it is up to date; "
    f"`dvc checkout {RECORDS}` brings the records back, or delete the result"
)
KINDS = ("stale", "missing", "orphaned", "unrecorded")
# Folders whose files are all results, so that an unknown one is an orphan.
KEPT = ("runs", "samples", "metrics", "tables", "figures")
FOLDERS = ("data/prepared", *(f"results/{kind}" for kind in KEPT))


class Finding(NamedTuple):
    """A stale, missing, orphaned or unrecorded result: kind, path below the root, reason."""

    kind: str
    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind:<10} {self.path}: {self.reason}"


def run(
    root: Path,
    params: Path,
    *,
    records: bool = False,
    prune: bool = False,
    verbs: Collection[str] = (),
    verbose: bool = False,
) -> int:
    """Print stale, missing and orphaned results, a line each, then a summary; return the status.

    Args:
        root: folder that holds ``data/`` and ``results/``.
        params: the parameter file.
        records: also demand a Snakemake record for every result.
        prune: move orphans to ``scratch/retired/``, remove states that no training needs.
        verbs: steps whose results are checked, and no orphans then; all by default.
        verbose: print every line; without it the first :data:`LISTED` of each kind.

    Raises:
        ConfigError: there is no such step.

    Returns:
        0 when all results are up to date, else 1.
    """
    plan = Plan(parameters.load(params))
    unknown = sorted(set(verbs) - set(VERBS))
    if unknown:
        raise ConfigError(f"--verb {unknown[0]}: must be one of {', '.join(VERBS)}.")
    sys.path.append(str(params.resolve().parent))  # custom models lie beside the parameters
    findings = examine(root, plan, records=records, verbs=verbs)
    orphans = [finding.path for finding in findings if finding.kind == "orphaned"]
    moved = dict(prune_orphans(root, orphans)) if prune else {}
    for state in prune_states(root, plan) if prune else ():
        print(f"{state}: the state of no training that is still to be done; removed")
    printed: Counter[str] = Counter()
    for finding in findings:
        where = moved.get(finding.path)
        printed[finding.kind] += 1
        most = SHOWN if finding.kind == "unrecorded" else LISTED
        if verbose or where or printed[finding.kind] <= most:
            print(f"{finding}; moved to {where}" if where else finding)
        elif printed[finding.kind] == most + 1:
            count = sum(each.kind == finding.kind for each in findings) - most
            print(f"{finding.kind:<10} and {count} more; --verbose lists them")
    left = [finding for finding in findings if finding.path not in moved]
    unrecorded = any(finding.kind == "unrecorded" for finding in findings)
    if unrecorded:
        print(REMEDY)
    if any(finding.kind in ("stale", "missing") for finding in left):
        then = "Then `" if unrecorded else "`"
        print(f"{then}snakemake -j4` makes what is missing or stale.")
    counts = ", ".join(f"{sum(f.kind == kind for f in left)} {kind}" for kind in KINDS)
    print(f"{len(plan.jobs())} jobs in suite {plan.parameters.suite}: {counts}")
    return 1 if left else 0


def examine(
    root: Path, plan: Plan, *, records: bool = False, verbs: Collection[str] = ()
) -> list[Finding]:
    """Return the stale, missing and unrecorded results of the suite, and all orphans.

    With ``records`` also which plan files are not those that DVC needs.
    """
    findings: list[Finding] = []
    stale: set[str] = set()
    seen: dict[str, str | None] = {}
    for job in plan.jobs():
        if verbs and job.verb not in verbs:
            continue
        missing = [p for p in job.outputs if not layout.under(root, p).is_file()]
        if missing:
            more = f" (and {len(missing) - 1} more of this job)" if len(missing) > 1 else ""
            findings.append(Finding("missing", missing[0], f"not made yet: {job.label}{more}"))
        reasons = [] if job.witness in missing else _reasons(root, job, seen)
        reasons = reasons or [f"follows {p}" for p in job.inputs if p in stale][:1]
        if reasons:
            findings.append(Finding("stale", job.witness, "; ".join(reasons)))
            stale.update(job.outputs)
        there = [p for p in job.outputs if p not in missing] if records else []
        findings += [Finding("unrecorded", p, UNRECORDED) for p in there if not _record(root, p)]
    if verbs:
        return findings
    if records:
        reason = "not the plan of these parameters and this code; `t3vae plan` writes it"
        findings += [Finding("stale", path, reason) for path in plan_files.outdated(root, plan)]
    return findings + [
        Finding("orphaned", path, "no experiment of the parameters has it")
        for path in _orphans(root, plan)
    ]


def refuse_unrecorded(root: Path, plan: Plan) -> None:
    """Stop a DVC stage before Snakemake judges results without a record by their time stamps.

    Results of a job that was killed have no record either, and Snakemake knows it.

    Raises:
        DataError: a result that DVC keeps is there and its record is not.
    """
    paths = [path for job in plan.jobs() if job.verb in CACHED for path in job.outputs]
    there = [path for path in paths if layout.under(root, path).is_file()]
    lost = [p for p in there if not _record(root, p) and not _record(root, p, UNFINISHED)]
    if lost:
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        raise DataError(
            f"Snakemake has no record of {', '.join(lost[:SHOWN])}{more}, so it cannot tell "
            f"whether they are up to date.\n{REMEDY}"
        )


def prune_orphans(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Move results out of the way, below ``scratch/retired/``; yield old and new path."""
    for path in paths:
        target, number = f"{RETIRED}/{path}", 1
        while layout.under(root, target).exists():
            target, number = f"{RETIRED}/{number}/{path}", number + 1
        destination = layout.under(root, target)
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.replace(layout.under(root, path), destination)
        for folder in PurePosixPath(path).parents:
            if str(folder) in FOLDERS or any(layout.under(root, str(folder)).iterdir()):
                break
            layout.under(root, str(folder)).rmdir()
        yield path, target


def prune_states(root: Path, plan: Plan) -> Iterator[str]:
    """Remove saved states of trainings that no experiment has or that are done; yield their paths.

    A training is done when Snakemake has a record of its results. The state of a training at
    work stays.
    """
    states = sorted(layout.under(root, layout.scratch("")).glob("*/"))
    needed = set()
    for experiment in plan.all_experiments if states else ():
        for run in plan.runs(experiment):
            job = plan.train(experiment, *run)
            manifests = [layout.under(root, path) for path in job.inputs]
            if all(path.is_file() for path in manifests):
                inputs = dict(zip(job.inputs, map(digests.file_digest, manifests), strict=True))
                made = digests.provenance("train", job.config, inputs, job.uses)
                if not _done(root, job, made):
                    needed.add(digests.digest(made))
    for state in states:
        if state.name not in needed and Scratch(state, state.name).discard():
            yield state.relative_to(root).as_posix()


def _done(root: Path, job: Job, made: Mapping[str, Any]) -> bool:
    """Whether the outputs of a training are there, recorded, and of this provenance."""
    for path in job.outputs:
        recorded = _record(root, path) and not _record(root, path, UNFINISHED)
        if not recorded or not layout.under(root, path).is_file():
            return False
    with suppress(DataError):
        return bool(_stored(layout.under(root, job.witness), job.verb)[0] == made)
    return False


# --- stale --------------------------------------------------------------------------------


def _reasons(root: Path, job: Job, seen: dict[str, str | None]) -> list[str]:
    """Return why a result is stale; ``seen`` keeps the digests of input files."""
    try:
        stored, config = _stored(layout.under(root, job.witness), job.verb)
        if job.verb == "train":
            config = files.read_json(layout.under(root, job.outputs[1]))
    except DataError as error:
        return [str(error).replace(f"{root}/", "")]
    if not isinstance(stored, dict) or not isinstance(stored.get("inputs"), dict):
        return ["holds no provenance"]
    reasons = []
    if stored.get("config") != digests.digest(dict(job.config)):
        reasons.append(_difference(config, job.config))
    if stored.get("sources") != job.code:
        reasons.append("its code changed")
    if job.verb == "prepare":
        return reasons or _raw(root, job, stored["inputs"])
    for path, old in stored["inputs"].items():
        if path not in seen:
            file = layout.under(root, path)
            seen[path] = digests.file_digest(file) if file.is_file() else None
        if seen[path] is not None and seen[path] != old:
            reasons.append(f"{path} changed")
    return reasons


def _raw(root: Path, job: Job, old: Mapping[str, Any]) -> list[str]:
    """Return why a data set is not that of the user's files, where they are on this machine."""
    try:
        now = raw_input.digests(job.config, root)
    except DataError as error:
        return [str(error)]
    return [f"files in {path} changed" for path in now if now[path] != old.get(path)]


def _stored(path: Path, verb: str) -> tuple[Any, Any]:
    """Return the provenance in a result, and the configuration where it is kept beside it."""
    if verb == "sample":
        return _parse(path, files.read_tensors_header(path).get("provenance")), None
    if verb == "figure":
        return read_provenance(path), None
    if verb == "report":
        text = path.read_text(encoding="utf-8", errors="replace")
        found = re.search(r'<meta name="t3vae:provenance" content="([^"]*)"', text)
        return _parse(path, unescape(found[1]) if found else None), None
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: not an object. Delete it to remake it.")
    return content.get("provenance"), content.get("config")


def _parse(path: Path, text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError as error:
        raise DataError(f"{path}: its provenance is damaged. Delete it to remake it.") from error


def _difference(old: Any, new: Mapping[str, Any]) -> str:
    """Return which settings differ, at most three by name.

    Example:
        >>> _difference({"a": {"nu": 9.0}}, {"a": {"nu": 10.0}})
        'settings changed: a.nu 9.0 -> 10.0'
    """
    if not isinstance(old, dict):
        return "settings changed"
    plain = json.loads(digests.canonical_json(dict(new)))
    before, after = ({dotted(p): v for p, v in leaves(each)} for each in (old, plain))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    named = [f"{k} {before.get(k, 'none')} -> {after.get(k, 'none')}" for k in sorted(keys)]
    more = [f"and {len(named) - 3} more"] if len(named) > 3 else []
    return f"settings changed: {', '.join(named[:3] + more)}"


# --- orphaned and unrecorded --------------------------------------------------------------


def _orphans(root: Path, plan: Plan) -> list[str]:
    known = plan.all_outputs()
    found = []
    for folder in FOLDERS:
        base = layout.under(root, folder)
        for path in sorted(base.rglob("*")) if base.is_dir() else ():
            relative = path.relative_to(root).as_posix()
            hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
            if path.is_file() and not hidden and relative not in known:
                found.append(relative)
    return found


def _record(root: Path, path: str, folder: str = RECORDS) -> bool:
    """Whether Snakemake has a record of an output (long names are cut into folders)."""
    base = layout.under(root, folder)
    name = urlsafe_b64encode(path.encode()).decode()
    limit = os.pathconf(base, "PC_NAME_MAX") if base.is_dir() else 255
    parts = [name[i : i + limit - 1] for i in range(0, len(name), limit - 1)]
    return base.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1]).is_file()
