"""Digests of parameters, files and source code: what made a result, in sixteen characters.

A result depends on three things: the resolved configuration of its job, the code that
ran, and the files that it read. Each gets a digest, and none of them mentions a commit
or a time, so that equal work has equal digests wherever it is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from t3vae.errors import ConfigError, DataError
from t3vae.provenance import closure

__all__ = ["canonical_json", "digest", "file_digest", "provenance", "source_digest"]

LENGTH = 16


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, no spaces, no NaN.

    Raises:
        ConfigError: the value holds something that JSON cannot say.

    Example:
        >>> canonical_json({"b": 1, "a": [1.0, None]})
        '{"a":[1.0,null],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"configuration cannot be written as JSON: {error}") from error


def digest(value: Any) -> str:
    """Return the digest of a JSON-able value, or of text or bytes as they are.

    Example:
        >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        True
        >>> len(digest("text"))
        16
    """
    text = value if isinstance(value, (str, bytes)) else canonical_json(value)
    content = text if isinstance(text, bytes) else text.encode()
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def file_digest(path: Path) -> str:
    """Return the digest of a file's bytes, read in blocks.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:LENGTH]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Run the step that makes it first.") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}). Check the file and its rights."
        ) from error


def provenance(
    verb: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str] | None = None,
    uses: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return what made a result: digests of configuration, sources and inputs.

    Args:
        verb: ``prepare``, ``extractor``, ``train``, ``sample``, ``evaluate``, ``collect``,
            ``figure``, ``report``.
        config: the resolved configuration of the job.
        inputs: digest of every file that was read, by its path below the root folder.
        uses: resolved configurations of earlier jobs whose code runs in this one: the
            run's ``config.json`` in ``sample`` and ``evaluate`` (model and network), the
            ``config`` of the data set's manifest in ``evaluate`` and ``collect``.

    Example:
        >>> sorted(provenance("prepare", {"source": "t_mixture_1d"}))
        ['config', 'inputs', 'sources']
    """
    return {
        "config": digest(dict(config)),
        "sources": source_digest(verb, config, uses),
        "inputs": dict(sorted((inputs or {}).items())),
    }


def source_digest(
    verb: str, config: Mapping[str, Any], uses: Iterable[Mapping[str, Any]] = ()
) -> str:
    """Return the digest of the code of one job; see :mod:`t3vae.provenance.closure`.

    Arguments are those of :func:`provenance`.

    Raises:
        ConfigError: a source file has a syntax error, or a named module does not exist.
    """
    return _digest_of_start(closure.start(verb, config, uses))


@cache
def _digest_of_start(start: closure.Start) -> str:
    return digest(closure.code(start))
