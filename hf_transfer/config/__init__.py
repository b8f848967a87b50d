"""Settings: declared with their help, checked, read from YAML and flags."""
