"""Errors that a user can cause and fix. Each message is one line: where, what, what to do."""


class CrossrecError(Exception):
    """Base of every error a user can cause; the command line prints its message and exits with code 2."""


class DataError(CrossrecError):
    """A data set, feature file or id is missing or malformed. The message names file, column or row and the fix."""


class ConfigError(CrossrecError):
    """A setting is unknown, out of range or contradicts another. The message names the setting and the fix."""


class RunError(CrossrecError):
    """A run directory is missing, damaged or belongs to another configuration. The message names the file."""


class TrainingError(CrossrecError):
    """Training cannot go on, e.g. a loss is not finite. The message names epoch, batch and term."""
