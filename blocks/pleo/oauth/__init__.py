"""OAuth with Pleo: the authorization-code grant with PKCE, and refresh tokens that are good once.

`block` is the Prefect block that keeps the tokens, `grant` renews them, `alone` lets one renew at a time, `endpoint`
talks to the authorisation server, `pkce` and `listener` are for `python -m blocks.pleo.authorize`.
"""
