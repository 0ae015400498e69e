"""`python -m circuitgrok` is the command line."""

from circuitgrok.faces.cli import main

main()
