"""What made a result: digests of code, settings and files."""
