"""The decision: policy, latched ledger, desk and gate. Pure, but for the gate."""
