"""How figures look and are saved, and the figures that several stages draw."""
