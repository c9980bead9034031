"""Networks that leave the project."""
