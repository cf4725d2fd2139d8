"""How long a run will take, from measured speeds of the machine."""
