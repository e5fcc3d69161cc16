"""How click models learn: proposals, simulated clicks, losses, the trainer."""
