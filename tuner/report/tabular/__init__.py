"""Results as tables: which columns and lines, and each text format."""
