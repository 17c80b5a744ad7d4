"""What keeps the store in order: leases that ran out, old rows, addresses that are gone for good."""
