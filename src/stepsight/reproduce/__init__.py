"""The paper's ablations: models trained alike on the same questions, answered in different forms, and what comes of it."""
