"""Published files: where they come from, and readers that check them and execute nothing."""
