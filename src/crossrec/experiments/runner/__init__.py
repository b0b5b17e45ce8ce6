"""Train the cells of an experiment: ``jobs`` says what a cell is, ``pool`` trains cells in processes.

Another way to train cells takes the place of ``Pool``, with its methods ``run``, ``add``, ``step`` and ``close``.
"""
