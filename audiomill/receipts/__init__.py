"""Receipts: what was made how; signing and verifying. No HTTP, no Dagster."""
