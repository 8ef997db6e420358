"""Operators: who may use Dagster's UI, and the guard before it. Customers and their API keys are in accounts."""
