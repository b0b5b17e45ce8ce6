"""The research questions, one file each: which runs to train, and what to make of their results."""
