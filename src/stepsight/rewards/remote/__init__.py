"""The other process: serves one reward model, and imports nothing of stepsight. Run the folder; see `__main__`."""
