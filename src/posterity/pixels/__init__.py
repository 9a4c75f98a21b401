"""Image files as uint8 arrays of one size."""
