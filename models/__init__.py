"""One file per model. A file dropped here is found, validated, deployed and documented."""
