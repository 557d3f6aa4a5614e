"""Pictures and tables of what a run does. Draws without a display; imports nothing heavy until something is drawn."""
