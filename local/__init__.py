"""What runs the collector on one machine, with nothing from Azure: local development and tests only."""
