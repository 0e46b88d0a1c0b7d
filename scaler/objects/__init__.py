"""Large objects between processes and hosts: which are where, which are under way, and who fetches them."""
