"""The research questions, one file each: options, cells to train, tables, figures, findings, and the result of all."""
