"""What people see: boards, alerts, build, check, push. Knows metric names only."""
