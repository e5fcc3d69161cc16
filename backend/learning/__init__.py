"""The PixelPick loop: which pixels to ask for, what to learn from the answers, what to publish."""
