"""The version of the installed package, which the tags of the repository gave it when it was built."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("crossrec")
except PackageNotFoundError:
    __version__ = "0+unknown"
