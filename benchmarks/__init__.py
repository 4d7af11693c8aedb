"""Speed, side by side with the authors' code where a checkout of it is given."""
