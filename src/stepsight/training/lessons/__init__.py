"""What is learned without a dataset of rows: lessons of the drawn world, names of patches, and answers with grades."""
