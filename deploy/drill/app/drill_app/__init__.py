"""The Flower App of the drill."""
