"""Parts found in features: what they are compared with, how they are found, and how they are drawn."""
