"""What `circuitgrok COMMAND` does; heavy libraries are imported by the command that needs them."""
