"""stepsight: staged visual reasoning, and search over its stages."""
