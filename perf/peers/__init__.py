"""Other task engines beside ours, each in an environment and a process of its own. Start with ../README.md."""
