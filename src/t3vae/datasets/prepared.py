"""Prepared data sets as the later steps read them: memory-mapped and checked.

An array whose bytes are not those that its manifest names is refused, so that a damaged
file never becomes a wrong result.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t3vae.errors import DataError
from t3vae.provenance.digests import digest, file_digest
from t3vae.runtime import files, layout

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Prepared"]


class Prepared:
    """A prepared data set below the root folder.

    Args:
        root: folder of the contract paths.
        dataset: name of the data set.

    Attributes:
        manifest: content of its ``manifest.json``.
        inputs: digest of the manifest by its path, for provenance.

    Raises:
        DataError: the manifest is missing or damaged.
    """

    def __init__(self, root: Path, dataset: str) -> None:
        self.root, self.dataset = Path(root), dataset
        relative = layout.manifest(dataset)
        path = layout.under(self.root, relative)
        self.manifest: dict[str, Any] = files.read_json(path)
        self.inputs = {relative: file_digest(path)}
        try:
            intact = digest(self.manifest["config"]) == self.manifest["provenance"]["config"]
        except (KeyError, TypeError):
            intact = False
        if not intact:
            raise DataError(
                f"{path}: not a manifest of this version, or damaged. "
                f"Delete {path.parent} and run `t3vae prepare` again."
            )

    @property
    def config(self) -> dict[str, Any]:
        """Resolved configuration that the data set was made from."""
        return dict(self.manifest["config"])

    def array(self, name: str) -> np.ndarray:
        """Return the array ``name`` (``train``, ``test_labels``, ...), mapped read-only.

        Raises:
            DataError: the file is missing, damaged or not the one of the manifest.
        """
        path = layout.under(self.root, layout.prepared(self.dataset, f"{name}.npy"))
        try:
            expected = self.manifest["arrays"][f"{name}.npy"]["sha256"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{layout.manifest(self.dataset)}: knows no array {name}.npy. "
                f"Delete {path.parent} and run `t3vae prepare` again."
            ) from error
        array = files.read_npy(path)
        if hashlib.sha256(array.reshape(-1).view("u1").data).hexdigest() != expected:
            raise DataError(
                f"{path}: its bytes are not those of the manifest. "
                f"Delete {path.parent} and run `t3vae prepare` again."
            )
        return array
