"""What a killed run goes on from: checkpoints, and the state of wrapped strategies in them."""
