"""params.yaml: what may stand in it, how it is read, and what every job gets of it."""
