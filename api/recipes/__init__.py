"""Recipes: what can be ordered."""
