"""What happened: one SQLite file per experiment run, its folder and its environment."""
