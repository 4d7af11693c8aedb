"""Which jobs there are, what each depends on, and which results are stale."""
