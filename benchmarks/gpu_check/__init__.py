"""Checks of training and ranking on a GPU: whether the numbers are those of the CPU, and how fast they come."""
