"""Experiments, groups and trials side by side."""
