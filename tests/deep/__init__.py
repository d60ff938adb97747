"""What needs PyTorch: networks, attacks on them, and what is proven of them."""
