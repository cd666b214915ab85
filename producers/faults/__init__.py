"""Incidents, one family a file. Each fault is a ``producers.simulation.Behaviour`` and says in its docstring where its
numbers come from (domain notes, section 2.6)."""
