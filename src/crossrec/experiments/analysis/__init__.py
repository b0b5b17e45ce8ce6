"""What the tables of experiments are computed from: comparisons, tests of significance, groups, distances."""
