"""Large objects between processes and hosts: which are where, which are under way, and how they get to another host."""
