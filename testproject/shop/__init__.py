"""A small shop whose orders are fulfilled by a durable workflow."""
