"""The halt desk in a browser: reads the topics as a gate does, and says nothing that a command could not say."""
