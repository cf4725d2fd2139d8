"""What happens to a search when things go wrong around it."""
