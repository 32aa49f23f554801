"""An OpenID Connect issuer and a certificate authority for the local stack."""
