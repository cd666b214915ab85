"""A live FIX drop copy session, as the acceptor: QuickFIX keeps the session, a journal keeps what it took, Kafka gets it."""
