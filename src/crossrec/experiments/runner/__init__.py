"""Train the cells of an experiment: ``jobs`` says what a cell is, ``pool`` trains cells, ``ray`` does it on a cluster.

Another way to train cells is another ``Training`` of ``pool``.
"""
