"""The inbox: objects that are dropped into the store become jobs, each writing of them once, none unsaid."""
