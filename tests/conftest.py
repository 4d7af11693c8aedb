"""What every test shares: one thread, and no settings left behind in torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """Undo what a stage sets for its process."""
    import torch

    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)
    if torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(False)
