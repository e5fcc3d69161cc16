"""Learners: semantic-segmentation models trained on pixel labels."""
