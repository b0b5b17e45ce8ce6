"""Arithmetic on tensors that knows nothing of recommenders."""
