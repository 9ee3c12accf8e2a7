"""The model that is trained: where it starts, which parts of it learn, and how it multiplies."""
