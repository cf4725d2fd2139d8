"""A person's own modules: how they are found, what identifies them, where they run."""
