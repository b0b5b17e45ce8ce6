"""Train the cells of an experiment: ``jobs`` says what a cell is, ``pool`` trains cells in processes.

Another way to train cells takes the place of ``Pool``, with its methods ``add``, ``step`` and ``close``, and uses
``FolderLock`` and ``completed`` as ``Pool`` does.
"""
