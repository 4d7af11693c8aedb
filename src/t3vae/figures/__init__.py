"""Figures: functions of tables (by file name) and a style; none trains, samples or evaluates."""
