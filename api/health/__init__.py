"""Health: is the process alive, can it work."""
