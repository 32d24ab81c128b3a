"""What the plugin and the command agree on, at no cost to whoever imports it."""

DEFAULT_IMAGE = "docker.io/library/python:3.13-slim"
"""Of the Pods, where nothing else is said."""
