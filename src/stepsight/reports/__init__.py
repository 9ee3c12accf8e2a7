"""What is shown: a search in the terminal, progress, scores."""
