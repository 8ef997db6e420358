"""What is produced: recordings (external), then one file per product, and the jobs that make them."""
