"""What is wrong in data, before it becomes a number."""
