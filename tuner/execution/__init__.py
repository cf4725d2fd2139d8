"""Where trials run: the scheduler, its workers, and what they say to each other."""
