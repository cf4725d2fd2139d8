"""What it means: tables, summaries and curves, computed from the ledger without any framework."""
