"""A backbone, alignment terms and a metric for crossrec."""
