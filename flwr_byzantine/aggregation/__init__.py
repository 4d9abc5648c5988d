"""One round of robust aggregation: replies are read, gated, aggregated with a rule, and accounted for."""
