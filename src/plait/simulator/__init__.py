"""A simulated world: hands at work, what a camera sees and gloves feel of them, and the truth."""
