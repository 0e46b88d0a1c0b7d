"""What other libraries know a pool of workers by: executors, pools, backends. Nothing here is loaded unasked."""
