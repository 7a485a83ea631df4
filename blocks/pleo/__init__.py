"""Pleo's export API, version 3: client, models, errors, credentials, and a sandbox to run at home."""
