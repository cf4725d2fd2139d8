"""What a person types: commands that parse, call and print."""
