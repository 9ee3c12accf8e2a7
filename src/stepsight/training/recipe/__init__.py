"""What a training recipe may say, and recipes that a longer run fills in."""
