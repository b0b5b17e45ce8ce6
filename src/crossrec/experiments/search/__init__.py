"""Search settings by validation Recall@20: spaces, proposers, trials, and the files and summary of the best."""
