"""What accounting systems over HTTP share: an adapter holds only what is its own. See `blocks/erp/README.md`."""
