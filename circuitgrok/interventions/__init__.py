"""What a researcher varies: losses and constraints, each a small object that acts on a stack of runs."""
