"""One function for each verb of the command line; rules and people call the same ones."""
