"""The words of Knightwatch: units, events, records, topics, metric names and the codec. No I/O, no clock."""
