"""`python -m ddpmcodec` is the `ddpmcodec` command."""

from ddpmcodec.cli import main

main(prog_name="ddpmcodec")
