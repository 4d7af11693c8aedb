"""The mathematics of the objectives, in a stable form; nothing here knows a network."""
