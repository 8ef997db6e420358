"""What is produced: recordings (external), then one file per product."""
