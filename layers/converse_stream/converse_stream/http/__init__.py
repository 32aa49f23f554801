"""HTTP requests as the functions receive them, and the bodies that clients may send."""
