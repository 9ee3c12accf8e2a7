"""What a run will take, before it is run: parameters, memory of each device, tokens, steps, hours."""
