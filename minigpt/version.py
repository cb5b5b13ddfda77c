"""The version of the library, read by packaging, the command line and the app's footer."""

__version__ = "0.1.0"
