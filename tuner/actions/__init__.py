"""What a command does: one use case a file."""
