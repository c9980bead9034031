"""What the kinds of tasks do with label files, apart from the kinds: reading, and what is implausible in them."""
