"""Analysis of trained runs: comparisons, significance tests, groups of items and users, distances between vectors."""
