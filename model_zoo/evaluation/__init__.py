"""How good a model is: metrics on predictions against the truth."""
