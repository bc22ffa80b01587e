"""Django's database backends, failing now and then; the storm's settings choose them."""
