"""Class counts of long-tailed data sets."""

from __future__ import annotations

from t3vae.errors import ConfigError

__all__ = ["class_counts"]


def class_counts(n_max: int, num_classes: int, imbalance: float) -> list[int]:
    r"""Return exponentially decaying class counts, the largest class first.

    .. math:: n_i = \lfloor n_{\max}\,\rho^{\,i/(C-1)} \rfloor,\qquad \rho = 1/\text{imbalance}

    Source: Cao et al. 2019 (LDAM, "exp"); evaluated in double precision in this order of
    operations, so counts agree with the published splits.

    Args:
        n_max: size of the largest class, at least 1.
        num_classes: C, at least 1.
        imbalance: ratio of the largest to the smallest class, at least 1.

    Raises:
        ConfigError: if an argument is out of range or a class would be empty.

    Example:
        >>> class_counts(500, 5, 100)
        [500, 158, 50, 15, 5]
    """
    problems = []
    if not n_max >= 1:
        problems.append(f"n_max = {n_max}: must be at least 1.")
    if not num_classes >= 1:
        problems.append(f"num_classes = {num_classes}: must be at least 1.")
    if not 1 <= imbalance < float("inf"):
        problems.append(f"imbalance = {imbalance}: must be finite and at least 1. Try 10.")
    if problems:
        raise ConfigError(problems)
    if num_classes == 1:
        return [int(n_max)]
    rho = 1.0 / imbalance
    counts = [int(n_max * rho ** (i / (num_classes - 1.0))) for i in range(num_classes)]
    if counts[-1] < 1:
        raise ConfigError(
            f"imbalance = {imbalance}: the smallest of {num_classes} classes would be empty with "
            f"n_max = {n_max}. Use an imbalance of at most {n_max}."
        )
    return counts
