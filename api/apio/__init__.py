"""BroadWorks recording platforms as Apio has them."""
