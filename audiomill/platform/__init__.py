"""The platform of this machine: its programs prepared, started, watched and stopped. Commands are in cli."""
