"""The running node: the parent process, its workers, their services, and the checks of a configuration before a start."""
