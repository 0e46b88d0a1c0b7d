"""Where no memory is shared with the scheduler: rings on this side, the wire on the other."""
