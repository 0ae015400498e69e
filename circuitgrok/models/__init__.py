"""Architectures as pure functions of `Params`; each config has `init`, `logits` and `activations`."""
