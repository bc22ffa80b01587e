"""The shop on one machine with nothing to install: what ``manage.py demo`` is made of."""
