"""What a run can be made of, by name: attacks, rules, datasets and models."""
