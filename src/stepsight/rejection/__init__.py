"""Rejection-sampled fine-tuning: answers that a model wrote, kept where they are confirmed, and learned from."""
