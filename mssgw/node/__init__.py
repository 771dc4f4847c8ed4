"""What runs: the parent process, its workers, the services they are made of, and whether a configuration is ready."""
