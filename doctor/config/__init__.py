"""Configurations: what the settings of a run will run into, before it starts."""
