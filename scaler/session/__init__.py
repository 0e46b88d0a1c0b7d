"""The conversation with another host: both sides of a client's and a cluster's session, beside each other."""
