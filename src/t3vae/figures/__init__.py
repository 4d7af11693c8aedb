"""Figures: each reads tables and returns an image; none trains, samples or evaluates."""
