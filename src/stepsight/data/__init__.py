"""From questions with known answers to staged answers: teacher, filters, ledger."""
