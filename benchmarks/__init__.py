"""Speed against references and peers: `python -m benchmarks NAME` runs one and prints JSON."""
