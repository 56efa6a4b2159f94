"""The command line. Each command parses its options, calls one library function and prints."""

from ddpmcodec.cli.main import main

__all__ = ["main"]
