"""Long runs of everything that users do, while memory, descriptors, threads and /dev/shm are watched."""
