"""Hyper-parameter search: many runs of one recipe, and what they tell of its settings."""
