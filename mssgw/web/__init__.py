"""HTTP: the page with the settings for mail clients, autoconfig, health, metrics."""
