"""From public datasets to staged answers: sources, teacher, filters, ledger, audit."""
