"""Where the package runs: files, folders, seeds, devices, progress, saved states."""
