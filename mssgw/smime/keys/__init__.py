"""Keys and certificates: in memory, in files, in tokens."""
