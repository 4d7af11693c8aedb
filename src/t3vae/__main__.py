"""``python -m t3vae``."""

from t3vae.cli import main

main()
