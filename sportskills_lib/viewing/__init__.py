"""Pure views (tables in, HTML out) and the thin widgets around them."""
