"""The API as its clients use it. Commands are in cli."""
