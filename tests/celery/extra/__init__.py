"""An app that only some workers have installed."""
