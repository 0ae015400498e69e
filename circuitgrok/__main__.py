"""`python -m circuitgrok` is the command line."""

from circuitgrok.cli import main

main()
