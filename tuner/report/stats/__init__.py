"""Numbers that carry their uncertainty: intervals, tests, importance."""
