"""The health report, the presence of workers and the canary."""
