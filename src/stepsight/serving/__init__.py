"""What stepsight serves over HTTP."""
