"""How one trial is trained: programs, compiled once per structure, run once per trial."""
