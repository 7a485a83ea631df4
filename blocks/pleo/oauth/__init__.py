"""OAuth with Pleo: the authorization-code grant with PKCE, and refresh tokens that are good once.

`block` is the Prefect block that keeps the tokens, `grant` renews them, `token_endpoint` asks Pleo for them, `redirect`
sends a user to Pleo and takes the answer (for `python -m blocks.pleo.authorize`).
"""
