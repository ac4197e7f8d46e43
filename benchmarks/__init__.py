"""What can be measured again by anyone, beside the tests: python -m benchmarks.NAME."""
