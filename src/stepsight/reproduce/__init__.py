"""The paper's ablations: models trained alike on the same questions with answers in different forms."""
