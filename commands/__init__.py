"""What the scripts share: the configuration is read here, and becomes what the rooms take."""
