"""`stepsight bench` and its verbs."""
