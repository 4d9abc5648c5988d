"""What takes part in a run: its server, its clients, and the engines that connect them."""
