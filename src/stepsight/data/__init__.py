"""From public datasets to staged answers: sources, the recipe of a dataset, and what is drawn from them."""
