"""The programs of the peers. They import nothing of Satellite, only `benchmarks.lstm64`."""
