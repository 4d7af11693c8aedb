"""How the report writes numbers."""

from __future__ import annotations

__all__ = ["number"]


def number(value: float) -> str:
    """Return a number with four significant digits, without a needless exponent.

    Example:
        >>> number(0.0123456), number(12345.6), number(1.0e-7)
        ('0.01235', '12350', '1.00e-07')
    """
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        return f"{float(f'{value:.4g}'):.10g}".replace("-", "−")
    return f"{value:.2e}".replace("-", "−", 1) if value < 0 else f"{value:.2e}"
