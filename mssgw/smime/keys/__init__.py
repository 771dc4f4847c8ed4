"""Keys and certificates: files, tokens, and where each is written in a configuration."""
