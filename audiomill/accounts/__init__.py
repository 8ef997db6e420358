"""Accounts: workspaces and API keys now; users, roles, consent and audit come with the front."""
