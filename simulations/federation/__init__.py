"""A run going on: its server, its clients, and the engines that connect them."""
