"""Other engines and bare loops at the same work, each in a process of its own: one windowed sum per server."""
