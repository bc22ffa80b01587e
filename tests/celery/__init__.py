"""Real Celery workers and a real beat, in processes of their own, over every broker that answers."""
