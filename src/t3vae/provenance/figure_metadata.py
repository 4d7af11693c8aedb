"""What made an image: a JSON text in its metadata, readable without a plotting library."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

from t3vae.errors import DataError

__all__ = ["PNG_KEY", "read_provenance"]

PNG_KEY = "t3vae:provenance"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance stored in a PNG or PDF file of this package.

    Args:
        path: an image written by the figure stage.

    Raises:
        DataError: the file is missing, damaged, or holds no provenance.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    text = _png_text(content) if content.startswith(_SIGNATURE) else _pdf_keywords(content)
    try:
        found = json.loads(text or "")
    except ValueError as error:
        raise DataError(f"{path}: no provenance in this image. Delete it to remake it.") from error
    return dict(found)


def _png_text(content: bytes) -> str | None:
    position = len(_SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[position : position + 8])
        data = content[position + 8 : position + 8 + length]
        if kind == b"tEXt" and data.startswith(PNG_KEY.encode() + b"\0"):
            return data[len(PNG_KEY) + 1 :].decode("latin-1")
        position += 12 + length
    return None


def _pdf_keywords(content: bytes) -> str | None:
    match = re.search(rb"/Keywords\s*\((.*?)(?<!\\)\)", content, flags=re.DOTALL)
    if match is None:
        return None
    return re.sub(rb"\\(.)", rb"\1", match.group(1)).decode("latin-1")
