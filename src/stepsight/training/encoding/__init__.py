"""From conversations and pictures to tokens, labels and weights, exactly as each family wants them."""
