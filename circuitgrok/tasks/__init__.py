"""What a network is asked: all inputs, their labels, and which of them it may train on."""
