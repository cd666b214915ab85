"""One module a command group: ``register(app)`` adds its commands. Heavy imports belong inside the commands."""
