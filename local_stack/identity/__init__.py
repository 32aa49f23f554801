"""Identity: an OpenID issuer and a certificate authority."""
